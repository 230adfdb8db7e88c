# kits_tf with the model that ships, its web page and its readers of other formats. docs/docker.md has the commands.
#   docker build -t kits_tf .                     for CPUs
#   docker build --target=gpu -t kits_tf:gpu .    with NVIDIA's CUDA libraries, several gigabytes
FROM python:3.12-slim AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=3
WORKDIR /src
COPY requirements.txt ./
RUN pip install -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY kits_tf kits_tf
COPY data_prep data_prep
RUN pip install ".[gdcm,itk,web]"
# The web page's scans lie in a folder of its user, also where a volume is mounted.
RUN useradd --create-home kits && install -d -o kits /home/kits/.local/share/kits_tf
USER kits
WORKDIR /home/kits
CMD ["kits-predict", "--help"]

FROM base AS gpu
USER root
RUN pip install "/src[gpu]"
USER kits

FROM base AS cpu
