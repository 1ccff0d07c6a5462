# What every job needs, Snakemake too; torch's wheels bring CUDA. docs/cluster.md says how it is built and used.
FROM python:3.12-slim

# On a GPU torch compiles a few lines of C when a training begins.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/vilbert
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY extract extract
COPY vilbert vilbert
RUN pip install --no-cache-dir --constraint constraints.txt '.[cluster]'

COPY Snakefile config.yaml ./
COPY workflow workflow
COPY profiles profiles
COPY envs envs
ENV PYTHONPATH=/opt/vilbert

RUN useradd --create-home --uid 1000 vilbert
USER 1000
WORKDIR /home/vilbert
ENTRYPOINT ["snakemake", "--snakefile", "/opt/vilbert/Snakefile"]
