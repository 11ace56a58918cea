#!/bin/sh
# Waits until the cloud says that this spot machine will be taken away, then runs a command, once, and ends.
#
#   drain-on-notice.sh aws|gcp|azure COMMAND [ARGUMENT...]
#   drain-on-notice.sh aws systemctl stop sigmafarm-worker
#   drain-on-notice.sh gcp docker compose --project-directory /srv/sigmafarm stop
#
# A stop lets running pictures be finished for SIGMAFARM_DRAIN_S and hands the rest back to be drawn elsewhere. Amazon says
# it two minutes before, Google and Azure half a minute: set SIGMAFARM_DRAIN_S to 15 there. Needs curl.
# METADATA_URL and INTERVAL_S (5) may be said for tests.
set -eu

cloud=${1:-}
case $cloud in
  aws | gcp | azure) shift ;;
  *) echo "drain-on-notice.sh: the first argument is the cloud: aws, gcp or azure, not '$cloud'" >&2; exit 2 ;;
esac
[ $# -gt 0 ] || { echo "drain-on-notice.sh: what is to be run? e.g. systemctl stop sigmafarm-worker" >&2; exit 2; }
metadata=${METADATA_URL:-http://169.254.169.254}

ask() { curl --silent --fail --max-time 2 --noproxy '*' "$@"; }

# Whether the machine will be taken away. A service that does not answer has said nothing.
is_noticed() {
  case $cloud in
    aws)
      token=$(ask -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$metadata/latest/api/token") || return 1
      ask -o /dev/null -H "X-aws-ec2-metadata-token: $token" "$metadata/latest/meta-data/spot/instance-action" ;;
    gcp)
      said=$(ask -H 'Metadata-Flavor: Google' "$metadata/computeMetadata/v1/instance/preempted") || return 1
      [ "$said" = TRUE ] ;;
    azure)
      said=$(ask -H 'Metadata: true' "$metadata/metadata/scheduledevents?api-version=2020-07-01") || return 1
      case $said in *'"EventType":"Preempt"'* | *'"EventType": "Preempt"'*) return 0 ;; *) return 1 ;; esac ;;
  esac
}

until is_noticed; do sleep "${INTERVAL_S:-5}"; done
echo "drain-on-notice.sh: this machine will be taken away: $*" >&2
exec "$@"
