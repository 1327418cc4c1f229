# The agent alone in an image: one static file, no shell, no library.
#
#   images/build-static aarch64-unknown-linux-musl
#   docker build -f images/agent.Dockerfile --build-arg TARGET=aarch64-unknown-linux-musl -t skerry-agent .
#   docker run -d --name skerry-agent --pid=host --net=host --restart=unless-stopped \
#     -v /:/host:ro,rslave -v /etc/skerry:/etc/skerry:ro -v /var/lib/skerry:/var/lib/skerry \
#     -v /var/run/docker.sock:/var/run/docker.sock:ro -v /var/lib/docker/containers:/var/lib/docker/containers:ro skerry-agent
#
# In a container agent.yaml names the host's files: `roots: {proc: /host/proc, sys: /host/sys, rootfs: /host}`.
FROM scratch
ARG TARGET=x86_64-unknown-linux-musl
COPY target/static/${TARGET}/skerry-agent /skerry-agent
VOLUME ["/var/lib/skerry"]
ENTRYPOINT ["/skerry-agent"]
CMD ["run", "--config", "/etc/skerry/agent.yaml"]
