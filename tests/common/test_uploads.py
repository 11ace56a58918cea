"""Pictures of people: what is taken, in which form; what is refused, at what cost; stored once, kept whole."""

from __future__ import annotations

import io
import resource
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from PIL import Image, PngImagePlugin

from sigmafarm_common.errors import InvalidPicture, NotFound, QuotaExceeded, TooLarge
from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.picture_inputs import Fit
from sigmafarm_common.records import Upload
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.uploads import reading
from sigmafarm_common.uploads.fitting import init_picture, mask_picture
from sigmafarm_common.uploads.reading import decode, read_picture
from sigmafarm_common.uploads.removing import remove_unused
from sigmafarm_common.uploads.sizes import Size, size_for
from sigmafarm_common.uploads.storing import UPLOAD_KEY, store_picture
from tests.common.store_contract import CONFIG, FakeMs

RED, CLEAR = (255, 0, 0), (0, 0, 255, 0)


def file_of(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)  # type: ignore[arg-type]
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb() -> bytes:
    """A PNG of 20,000 x 20,000 pixels, a bit each, all the same."""
    press = zlib.compressobj(9)
    pressed = b"".join([*(press.compress(bytes(2501 * 1000)) for _ in range(20)), press.flush()])
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pressed) + chunk(b"IEND", b"")


def gradient(mode: str = "RGB") -> Image.Image:
    return Image.linear_gradient("L").resize((48, 32)).convert(mode)


def refusal(data: bytes) -> str:
    with pytest.raises(InvalidPicture) as caught:
        read_picture(data)
    return str(caught.value)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "1"])
def test_every_format_and_mode_becomes_a_png_of_eight_bits(file_format: str, mode: str):
    if (file_format, mode) in {("PNG", "CMYK"), ("JPEG", "P"), ("JPEG", "1"), ("WEBP", "CMYK"), ("WEBP", "1")}:
        mode = "RGB"
    options = {"quality": 95} if file_format == "JPEG" else {"lossless": True} if file_format == "WEBP" else {}

    read = read_picture(file_of(gradient(mode), file_format, **options))

    stored = Image.open(io.BytesIO(read.png))
    assert (stored.format, stored.mode, stored.size) == ("PNG", "RGB", (48, 32))
    assert (read.width, read.height) == (48, 32)
    difference = [abs(a - b) for a, b in zip(stored.tobytes(), gradient(mode).convert("RGB").tobytes(), strict=True)]
    assert max(difference) <= (12 if file_format == "JPEG" else 0)


def test_sixteen_bits_are_rounded_to_eight():
    wide = Image.frombytes("I;16", (4, 1), struct.pack("<4H", 0, 128, 32_896, 65_535))

    assert decode(file_of(wide)).getchannel("R").tobytes() == bytes([0, 0, 128, 255])


def test_picture_is_turned_as_its_exif_says_and_nothing_that_it_says_is_kept():
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "where I live"

    read = read_picture(file_of(gradient(), "JPEG", exif=exif, comment=b"where I live"))

    stored = Image.open(io.BytesIO(read.png))
    assert stored.size == (32, 48)
    assert stored.getpixel((0, 0))[0] > 200 > stored.getpixel((31, 0))[0]  # type: ignore[index,operator]
    assert (stored.info, b"live" in read.png) == ({}, False)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_orientation_that_cannot_be_read_says_nothing():
    assert decode(file_of(gradient(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xffgarbage")).size == (48, 32)


def test_alpha_is_kept_where_something_is_transparent_and_dropped_where_nothing_is():
    clear = Image.new("RGBA", (8, 8), RED)
    assert decode(file_of(clear)).mode == "RGB"
    clear.putpixel((0, 0), CLEAR)
    assert decode(file_of(clear)).mode == "RGBA"
    palette = Image.new("P", (8, 8))
    assert decode(file_of(palette, transparency=0)).mode == "RGBA"


def test_transparent_parts_of_a_picture_are_white_and_of_a_mask_drawn_anew():
    clear = Image.new("RGBA", (64, 64), (*RED, 255))
    clear.paste(CLEAR, (0, 0, 32, 64))

    picture, mask = init_picture(clear, Size(64, 64)), mask_picture(clear, Size(64, 64))

    assert (picture.getpixel((0, 0)), picture.getpixel((63, 0))) == ((255, 255, 255), RED)
    assert (mask.mode, mask.getpixel((0, 0)), mask.getpixel((63, 0))) == ("L", 255, 0)
    grey = Image.new("RGB", (64, 64), (40, 40, 40))
    assert mask_picture(grey, Size(64, 64)).getpixel((5, 5)) == 40


def animation(file_format: str) -> bytes:
    return file_of(gradient(), file_format, save_all=True, append_images=[gradient().rotate(90)])


def broken_crc() -> bytes:
    data = bytearray(file_of(gradient()))
    data[-20] ^= 0xFF
    return bytes(data)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: b"", ("is empty",)),
        (lambda: b"just a text", ("is no PNG, JPEG or WEBP", "it begins with b'just a text'", "save it as one")),
        (lambda: b"GIF89a" + bytes(20), ("is no PNG, JPEG or WEBP",)),
        (lambda: file_of(gradient())[:-60], ("the PNG cannot be decoded", "send it whole")),
        (lambda: file_of(gradient(), "JPEG")[:-200], ("the JPEG cannot be decoded", "send it whole")),
        (lambda: file_of(gradient(), "WEBP")[:-40], ("the WEBP cannot be decoded",)),
        (lambda: file_of(gradient())[:20], ("says no size",)),
        (lambda: file_of(gradient(), "JPEG")[:30], ("says no size",)),
        (lambda: b"RIFF" + bytes(50), ("says no size",)),
        (lambda: b"RIFF\x10\0\0\0WAVEfmt " + bytes(30), ("says no size",)),
        (broken_crc, ("the PNG cannot be decoded",)),
        (lambda: animation("PNG"), ("the PNG is an animation", "save one frame")),
        (lambda: animation("WEBP"), ("the WEBP is an animation",)),
        (bomb, ("20000 x 20000 pixels", "make it smaller")),
        (lambda: file_of(Image.new("1", (16_000, 2_100)), "WEBP")[:60], ("16000 x 2100 pixels",)),
        (lambda: file_of(Image.new("L", (16_000, 2_100)), "JPEG")[:900], ("16000 x 2100 pixels",)),
    ],
)
def test_what_is_no_picture_to_draw_from_is_refused_with_value_and_cure(
    make: Callable[[], bytes], words: tuple[str, ...]
):
    said = refusal(make())

    assert all(word in said for word in words), said


def test_a_pixel_bomb_costs_no_memory():
    data = bomb()
    assert len(data) < 61_000
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    refusal(data)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 8 << 10


def test_a_text_chunk_that_grows_without_end_is_refused():
    texts = PngImagePlugin.PngInfo()
    texts.add_text("k", "a" * (65 << 20), zip=True)

    assert "the PNG cannot be decoded" in refusal(file_of(gradient(), pnginfo=texts))


def test_file_that_is_too_long_is_refused_before_it_is_looked_at(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "MAX_FILE_BYTES", 100)

    with pytest.raises(TooLarge, match="the picture has 101 bytes, above 100"):
        read_picture(bytes(101))


def test_picture_larger_than_any_drawing_is_stored_smaller():
    read = read_picture(file_of(Image.new("RGB", (3072, 4096))))

    assert (read.width, read.height) == (2048, 2731)
    assert (read_picture(file_of(Image.new("RGB", (64, 4096)))).height) == 4096


@pytest.mark.parametrize(
    ("picture", "said", "size"),
    [
        ((512, 512), {}, (512, 512)),
        ((300, 200), {}, (304, 200)),
        ((1024, 1024), {}, (512, 512)),
        ((1024, 512), {}, (728, 360)),
        ((4000, 10), {}, (2048, 64)),
        ((20, 20), {}, (64, 64)),
        ((1024, 512), {"width": 256}, (256, 128)),
        ((1024, 512), {"height": 1024}, (2048, 1024)),
        ((1024, 512), {"width": 640, "height": 640}, (640, 640)),
        ((1024, 513), {"fit": Fit.STRICT}, (1024, 513)),
        ((1024, 512), {"fit": Fit.STRICT, "width": 64}, (64, 512)),
    ],
)
def test_size_of_a_job_follows_its_picture(picture: tuple[int, int], said: dict[str, int], size: tuple[int, int]):
    assert size_for(Size(*picture), Size(512, 512), **said) == size  # type: ignore[arg-type]


def test_picture_of_another_shape_covers_the_size_and_loses_its_edges_evenly():
    wide = Image.new("RGB", (96, 32), RED)
    wide.paste((0, 255, 0), (32, 0, 64, 32))

    fitted = init_picture(wide, Size(64, 64))

    assert fitted.size == (64, 64)
    assert {fitted.getpixel((x, y)) for x in (8, 32, 55) for y in (0, 63)} == {(0, 255, 0)}
    assert init_picture(wide, Size(96, 32)).tobytes() == wide.tobytes(), "of its own size: bit for bit"


# -- stored


class Shelf:
    """Records and objects of uploads, and a clock."""

    def __init__(self, client: redis.Redis, folder: Path):
        self.clock = FakeMs()
        self.store, self.objects = RedisStore(CONFIG, client, now_ms=self.clock), FolderStore(folder)

    def put(self, image: Image.Image, **limits: int) -> Upload:
        return store_picture(self.store, self.objects, "ann", read_picture(file_of(image)), **limits).upload

    @property
    def keys(self) -> list[str]:
        return [o.key for o in self.objects.list()]


@pytest.fixture
def shelf(redis_client: redis.Redis, tmp_path: Path) -> Shelf:
    return Shelf(redis_client, tmp_path / "objects")


def test_same_picture_is_stored_once_whatever_its_file(shelf: Shelf):
    first = shelf.put(gradient())

    again = store_picture(shelf.store, shelf.objects, "ann", read_picture(file_of(gradient(), "WEBP", lossless=True)))

    assert (again.upload, again.is_new) == (first, False)
    assert shelf.keys == [first.key]
    assert UPLOAD_KEY.fullmatch(first.key)
    assert len(shelf.objects.get(first.key)) == first.size_bytes


def test_two_who_store_one_picture_at_once_leave_one_object(shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shelf.store, "touch_upload", lambda *_: None)  # neither has seen the other

    first, second = shelf.put(gradient()), shelf.put(gradient())

    assert first == second
    assert shelf.keys == [first.key]


def test_picture_beyond_the_owners_bytes_leaves_no_object(shelf: Shelf):
    with pytest.raises(QuotaExceeded):
        shelf.put(gradient(), max_bytes=10)

    assert shelf.keys == []


def test_an_object_that_was_lost_lies_there_again_after_the_next_upload(shelf: Shelf):
    first = shelf.put(gradient())
    shelf.objects.delete(first.key)

    assert shelf.put(gradient()) == first
    assert shelf.keys == [first.key]


def test_unused_picture_goes_and_an_upload_meanwhile_stays(shelf: Shelf):
    first = shelf.put(gradient())
    shelf.clock.advance(50)
    assert shelf.store.drop_uploads() == 1  # as in a round that is cut off before the object is removed

    second = shelf.put(gradient())

    assert remove_unused(shelf.store, shelf.objects) == [first.key]
    assert (shelf.keys, shelf.store.upload("ann", second.sha256)) == ([second.key], second)
    shelf.clock.advance(50)
    assert remove_unused(shelf.store, shelf.objects) == [second.key]
    assert (shelf.keys, shelf.store.deletions()) == ([], [])
    with pytest.raises(NotFound):
        shelf.store.upload("ann", first.sha256)


def test_object_that_cannot_be_removed_now_is_removed_later(shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
    first = shelf.put(gradient())
    shelf.clock.advance(50)
    with monkeypatch.context() as patch:
        patch.setattr(shelf.objects, "delete", lambda key: (_ for _ in ()).throw(OSError(key)))
        with pytest.raises(OSError):
            remove_unused(shelf.store, shelf.objects)
    assert shelf.keys == [first.key]

    assert remove_unused(shelf.store, shelf.objects) == [first.key]
    assert shelf.keys == []


def test_only_uploads_are_ever_removed(shelf: Shelf):
    shelf.objects.put("06f2v3k9qabcdef/000000-f1.png", b"drawn", "image/png")
    shelf.store.redis.client.sadd("sigmafarm:deletions", "06f2v3k9qabcdef/000000-f1.png")

    assert remove_unused(shelf.store, shelf.objects) == []
    assert (len(shelf.keys), shelf.store.deletions()) == (1, [])
