# medgraft on a CPU, as a user without rights, on a file system that is read only but for /runs,
# /cache and /tmp:
#
#   docker build -t medgraft .
#   docker run --rm --read-only --tmpfs /tmp --network none -v "$PWD/images:/data:ro" \
#     -v medgraft-runs:/runs -v medgraft-cache:/cache medgraft study /data --out /runs/first
#
# The steps are scripts, which packaging/check.sh runs without Docker, so that they cannot rot.
FROM python:3.13-slim AS build
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY . .
ENV PIP_CONSTRAINT=/src/constraints.txt
RUN packaging/build.sh /dist
RUN packaging/install.sh /dist /opt/medgraft

FROM python:3.13-slim
COPY --from=build /opt/medgraft /opt/medgraft
COPY packaging/smoke.sh /opt/medgraft/bin/medgraft-smoke
RUN mkdir /runs /cache && chown 65532:65532 /runs /cache
ENV PATH=/opt/medgraft/bin:$PATH HOME=/tmp MPLCONFIGDIR=/tmp MEDGRAFT_CACHE=/cache \
    PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
VOLUME ["/runs", "/cache"]
WORKDIR /runs
ENTRYPOINT ["medgraft"]
CMD ["doctor"]
