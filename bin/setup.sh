# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Sourced by bin/test and bin/demo: what both need on a fresh Debian machine.
#
#   tower_packages PKG...      install the Debian packages that are missing
#   tower_venv [PYTHON [REQ]]  make, once, and activate the Python environment of the tests; with REQ, a file of
#                              pinned requirements, that instead of what requirements-dev.txt has
#
# LLAMATOWER_CACHE is where everything is kept that can be made again; it is safe to delete.

TOWER_REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export LLAMATOWER_CACHE=${LLAMATOWER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/llamatower}
mkdir -p "$LLAMATOWER_CACHE"

tower_packages() {
  local package missing=() sudo=()
  for package in "$@"; do
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2> /dev/null) == installed ]] ||
      missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  echo "installing Debian packages: ${missing[*]}"
  [[ $(id -u) == 0 ]] || sudo=(sudo)
  if ! { "${sudo[@]}" apt-get update && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --no-install-recommends "${missing[@]}"; } > "$LLAMATOWER_CACHE/apt.log" 2>&1; then
    tail -n 5 "$LLAMATOWER_CACHE/apt.log" >&2
    echo "apt-get could not install ${missing[*]}; all of its output is in $LLAMATOWER_CACHE/apt.log" >&2
    return 1
  fi
}

tower_venv() {
  local python=${1:-python3} extra=${2:-/dev/null} requirements=$TOWER_REPO/requirements-dev.txt key venv
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "Python 3.11 or later is needed; $python is $("$python" --version)" >&2; return 1; }
  "$python" -c 'import ensurepip' 2> /dev/null || tower_packages python3-venv || return 1
  key=$({ "$python" -c 'import sys; print(sys.version, sys.executable)'; cat "$requirements" "$extra"; } |
    sha256sum | cut -c1-12)
  venv=$LLAMATOWER_CACHE/venv-$key
  (
    flock 9
    [[ ! -e $venv/complete ]] || exit 0
    echo "making the Python environment $venv"
    pip=("$venv/bin/pip" --quiet --disable-pip-version-check install --require-hashes)
    if ! { "$python" -m venv --clear "$venv" && "${pip[@]}" -r "$requirements" &&
      "${pip[@]}" --no-deps -r "$extra" && touch "$venv/complete"; } > "$venv.log" 2>&1; then
      tail -n 5 "$venv.log" >&2
      echo "pip could not install $requirements; all of its output is in $venv.log" >&2
      exit 1
    fi
  ) 9> "$venv.lock" || return 1
  # shellcheck source=/dev/null
  . "$venv/bin/activate"
  echo "using $venv with $("$venv/bin/python" --version)"
}
