# The suite in a container: `docker build -t mm3dscene .` (CPU), `docker build --build-arg TORCH=cu126 -t mm3dscene .` (CUDA).
#   docker run --rm -v "$PWD/results:/mm3dscene/results" mm3dscene make repro
#   docker run --rm --gpus all -v /data/scannet:/data/scannet mm3dscene mm3d doctor
# TORCH goes to MM3D_TORCH of tools/install.py: cpu, cuda, or a backend such as cu126. The CUDA libraries come with torch.
FROM python:3.11-slim-bookworm
ARG TORCH=cpu
ENV DEBIAN_FRONTEND=noninteractive OMP_NUM_THREADS=1
# g++ for the CPU kernels and, with Python's headers from the image, for Triton's launcher; git for provenance
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ git make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /mm3dscene
COPY . .
RUN MM3D_TORCH=${TORCH} make install
ENV PATH=/mm3dscene/.venv/bin:$PATH
CMD ["mm3d", "--help"]
