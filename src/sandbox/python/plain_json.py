"""JSON as the service and its processes in the sandbox say it to each other. Python's own package loads `re`, `enum` and
`functools` first, which is a third of the agent's start; what does the work in it needs none of them."""

try:
    from _json import encode_basestring_ascii, make_scanner
except ImportError:
    from json import dumps, loads
else:

    class _Plain:
        strict = True
        object_hook = object_pairs_hook = None
        parse_float = parse_constant = float
        parse_int = int
        memo = {}

    _scan = make_scanner(_Plain)

    def loads(text):
        """Of text, or of bytes of it, without space before or after it."""
        return _scan(text if isinstance(text, str) else text.decode(), 0)[0]

    def dumps(value):
        """Of what consists of dicts with text as keys, lists, text, integers, booleans and None."""
        if isinstance(value, str):
            return encode_basestring_ascii(value)
        if value is None:
            return "null"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return int.__repr__(value)
        if isinstance(value, dict):
            return "{%s}" % ",".join(f"{encode_basestring_ascii(key)}:{dumps(each)}" for key, each in value.items())
        if isinstance(value, list):
            return "[%s]" % ",".join(map(dumps, value))
        raise TypeError(f"{type(value).__name__} has no place here")
