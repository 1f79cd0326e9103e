#!/bin/sh
# Run a command where nothing can be written but in the folder $1, as `docker run --read-only` does:
# needs root. Where an interpreter lies that others may not read (root's own), it stays root.
set -eu
writable=$1
shift
chown 65532:65532 "$writable"
user="setpriv --reuid=65532 --regid=65532 --clear-groups --no-new-privs"
if ! $user sh -c 'medgraft --version' > /dev/null 2>&1; then
  echo "tried as root: another user may not run the Python that lies at $(command -v medgraft)"
  user=""
fi
exec unshare --mount sh -euc '
  mount --make-rprivate /
  mount --bind / /
  mount --bind "$1" "$1"
  mount -o remount,bind,ro /
  shift
  exec "$@"' confined "$writable" $user "$@"
