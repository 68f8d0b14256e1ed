# Sourced by the scripts beside it: picks a Python, sees to the virtual environment, sets `root` and PATH.
# shellcheck shell=bash
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# PYTHON names the interpreter to use; otherwise the first one here that is new enough.
python=
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [[ -z $python ]]; then
    echo "paglets needs Python 3.11 or newer; none was found (tried: ${PYTHON:-python3 python3.13 python3.12 python3.11})" >&2
    exit 1
fi

# Containers like to forbid Python to keep what it has compiled: half of the cost of a start, and tests start hundreds.
unset PYTHONDONTWRITEBYTECODE

"$python" "$root/buildscripts/environment.py"
PATH=$root/.venv/bin:$PATH
