"""Looking inside: tokens, schedule, latents, noised pictures, the filmstrip of a drawing, the round trip of the VAE.

Each function gives a Look: a picture for people and the same in numbers. `python -m sigmafarm_worker.looking` (and
`sigmafarm inspect`) writes them as PNG and JSON.
"""

from sigmafarm_worker.looking.drawn import look_at_filmstrip as look_at_filmstrip
from sigmafarm_worker.looking.drawn import look_at_latents as look_at_latents
from sigmafarm_worker.looking.look import Look as Look
from sigmafarm_worker.looking.pictures import look_at_noised as look_at_noised
from sigmafarm_worker.looking.pictures import look_at_roundtrip as look_at_roundtrip
from sigmafarm_worker.looking.schedule import look_at_schedule as look_at_schedule
from sigmafarm_worker.looking.tokens import look_at_tokens as look_at_tokens
