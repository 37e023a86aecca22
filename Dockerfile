# syntax=docker/dockerfile:1
FROM node:24-bookworm-slim AS build
WORKDIR /opt/codegen-worker
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json ./
COPY scripts/build.mjs scripts/pack-packages.mjs ./scripts/
COPY src ./src
RUN node scripts/build.mjs && npm prune --omit=dev

FROM node:24-bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap ca-certificates python3 python3-pip-whl \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o node -g node /var/lib/codegen-worker
# Not below /usr, which every sandbox sees.
WORKDIR /opt/codegen-worker
COPY --from=build /opt/codegen-worker/node_modules ./node_modules
COPY --from=build /opt/codegen-worker/build/node_modules ./build/node_modules
COPY --from=build /opt/codegen-worker/build/src ./build/src
COPY package.json LICENSE ./
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    PORT=8080 \
    DATA_DIR=/var/lib/codegen-worker \
    LOG_FORMAT=json
VOLUME /var/lib/codegen-worker
EXPOSE 8080
# As root (`--user 0:0`) each session gets a host uid of its own; docs/operations.md weighs the two.
USER node
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/healthz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "build/src/main.js"]
