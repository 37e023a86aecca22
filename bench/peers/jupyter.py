# A Jupyter kernel as its client meets it: for each line on stdin `print(1)` is executed, and the answer says when its
# output was there and the kernel idle again. Debian's python3-ipykernel and python3-jupyter-client.
import sys

from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel(kernel_name="python3")
print("ready", flush=True)
try:
    for _ in sys.stdin:
        request = client.execute("print(1)", store_history=False)
        output = ""
        while True:
            message = client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] == "stream":
                output += message["content"]["text"]
            elif message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
        print(output.strip(), flush=True)
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    del client, manager
