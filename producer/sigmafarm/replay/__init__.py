"""Drawing a picture again from what its file says, and how the two differ."""

from sigmafarm.replay.reading import ReadPicture, read_picture

__all__ = ["ReadPicture", "read_picture"]
