"""Many jobs on three machines with GPUs, which share one Redis and one bucket of S3.

The machines are started with the files in deploy/gpu-boxes (docs/deploy/gpu-boxes.md tells each step); this runs on any
other machine that reaches both. It says who draws, submits, and counts at the end what each machine has drawn.

export SIGMAFARM_REDIS_URL=redis://:PASSWORD@10.0.0.5:6379/0 SIGMAFARM_OBJECTS_URL=s3://sigmafarm
export AWS_ACCESS_KEY_ID=sigmafarm AWS_SECRET_ACCESS_KEY=... SIGMAFARM_S3_ENDPOINT_URL=http://10.0.0.5:8333
python examples/three_boxes.py [--jobs 1000] [--model NAME] [--steps 25]
"""

import argparse
import sys
from collections import Counter

from sigmafarm import Farm

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--jobs", type=int, default=12)
parser.add_argument("--model", help="one of `sigmafarm models`")
parser.add_argument("--steps", type=int, default=25)
said = parser.parse_args()

farm = Farm.from_env()
machines = Counter(worker.host for worker in farm.workers() if worker.takes_jobs)
if not machines:
    sys.exit("no worker takes jobs: start one on each machine, as docs/deploy/gpu-boxes.md tells")
for machine, num_workers in sorted(machines.items()):
    print(f"{machine}: {num_workers} {'worker' if num_workers == 1 else 'workers'}")

settings = {"num_inference_steps": said.steps} | ({"model": said.model} if said.model else {})
batch = farm.submit(["a lighthouse at dawn"], name="three boxes", repeat=said.jobs, defaults=settings)
counts = batch.wait(progress=True)

hosts = {worker.id: worker.host for worker in farm.workers()}
drawn = Counter(hosts.get(job.worker, job.worker) for job in batch.jobs(state="succeeded"))
for machine, num_pictures in sorted(drawn.items()):
    print(f"{machine} drew {num_pictures} of {counts.total}")
batch.download("out/three_boxes")
