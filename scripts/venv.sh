#!/usr/bin/env bash
# Make a virtual environment with what requirements.lock names, on Python 3.11 or 3.12.
# usage: venv.sh FOLDER [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:?folder of the environment}
wanted=${2:-}

usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1; }

find_python() {
  local candidate
  for candidate in ${wanted:-python3.12 python3.11 python3 python}; do
    if usable "$candidate"; then echo "$candidate"; return; fi
  done
  if [ -n "$wanted" ]; then return 1; fi
  if command -v uv >/dev/null 2>&1; then
    echo "no Python 3.11 or 3.12 here; uv fetches one" >&2
    uv python install 3.12 >&2 && uv python find 3.12
    return
  fi
  return 1
}

if ! python=$(find_python); then
  echo "Watchkeeper needs Python 3.11 or 3.12 with venv, and found neither." >&2
  echo "Install one (Debian: apt-get install python3.11 python3.11-venv), or uv, and try again." >&2
  exit 1
fi

if ! [ -x "$folder/bin/python" ] || ! usable "$folder/bin/python"; then
  rm -rf "$folder"
  "$python" -m venv "$folder"
fi
echo "installing into $folder ($("$folder/bin/python" --version)); the first time takes about a minute"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
