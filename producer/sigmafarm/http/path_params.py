"""Parts of paths that several routes have."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from sigmafarm.http.schemas import BATCH_ID, IMAGE_ID, JOB_ID

BatchId = Annotated[str, Path(description="A batch's id.", examples=[BATCH_ID])]
JobId = Annotated[str, Path(description="A job's id: its batch's and its row.", examples=[JOB_ID])]
ImageId = Annotated[str, Path(description="What the answer to an upload calls a picture.", examples=[IMAGE_ID])]
WorkerId = Annotated[str, Path(description="A worker's id.", examples=["gpu1-cuda0-3fa9c1"])]
