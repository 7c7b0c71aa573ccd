# The app as a user without rights, on a root file system that may be mounted read-only (docs/deploy.md).
FROM python:3.11-slim

RUN useradd --create-home --uid 10001 reader
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY app.py pyproject.toml ./
COPY .streamlit .streamlit
COPY clear_hug clear_hug
COPY pages pages
COPY checkpoints checkpoints
RUN python -m compileall -q app.py clear_hug pages

# What is written: uploads and figures under /tmp, readers' work in /work, the cohort's index in /cache.
ENV HOME=/tmp/home MPLCONFIGDIR=/tmp/matplotlib CLEAR_HUG_STORE=/work CLEAR_HUG_CACHE=/cache \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN mkdir -m 0700 /work /cache && chown reader /work /cache
USER reader
VOLUME ["/work", "/cache"]
EXPOSE 8501
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=5)"]
CMD ["python", "-m", "streamlit", "run", "app.py", "--server.port", "8501", "--server.address", "0.0.0.0", \
     "--server.scriptHealthCheckEnabled", "true"]
