"""Every mode of image that the formats have: what `decode` gives, and that `shrink` keeps it."""
import dataclasses
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from data.decode import decode, shrink

W, H = 97, 64  # one of them odd: halves of pixels show


@dataclasses.dataclass
class Case:
  """A file, what it shows u8[h, w, 3], how far (of 255) decoding may be off, and shrinking on average (0: by 2)."""
  data: bytes
  shows: np.ndarray
  near: int = 0
  shrunk: float = 0


def encoded(image: Image.Image, form: str = 'PNG', **options) -> bytes:
  out = io.BytesIO()
  image.save(out, form, **options)
  return out.getvalue()


def png(samples: np.ndarray, depth: int, color: int, key: bytes = b'') -> bytes:
  """A PNG of samples [h, w] or [h, w, c] as they are, of 2 or 16 bits, which Pillow itself does not write."""
  def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))
  h, w = samples.shape[:2]
  rows = samples.astype('>u2').reshape(h, -1).view(np.uint8)
  if depth == 2:
    four = np.pad(samples, ((0, 0), (0, -w % 4))).reshape(h, -1, 4)
    rows = (four << np.array([6, 4, 2, 0])).sum(-1).astype(np.uint8)
  body = b''.join(b'\0' + row.tobytes() for row in rows)
  return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', w, h, depth, color, 0, 0, 0)) +
          (chunk(b'tRNS', key) if key else b'') + chunk(b'IDAT', zlib.compress(body)) + chunk(b'IEND', b''))


def pictures() -> tuple[np.ndarray, np.ndarray]:
  """Smooth colours u8[h, w, 3], none of them black, and a disc of ones bool[h, w]."""
  y, x = np.mgrid[:H, :W]
  colors = np.stack([40 + 2 * x, 60 + 3 * y, 220 - x - y], -1).clip(20, 255).astype(np.uint8)
  return colors, (x - W / 2) ** 2 + (y - H / 2) ** 2 < 24 ** 2


def cases() -> dict[str, Case]:
  colors, disc = pictures()
  rgb, grey = Image.fromarray(colors), Image.fromarray(colors).convert('L')
  levels = np.asarray(grey)
  on_white = np.where(disc[..., None], colors, 255)  # the disc, cut out
  three = lambda one: np.repeat(np.asarray(one)[..., None], 3, -1).astype(np.uint8)
  veil = np.where(disc, 255, 4 * np.arange(H)[:, None]).clip(0, 255).astype(np.uint8)  # an alpha of all values
  veiled = lambda c: (c * (veil[..., None] / 255) + 255 - veil[..., None]).astype(np.uint8)
  keyed = lambda i: Image.fromarray(np.where(disc if np.ndim(i) == 2 else disc[..., None], i, 0).astype(np.uint8))
  rgba, la = rgb.copy(), grey.copy()
  rgba.putalpha(Image.fromarray(veil))
  la.putalpha(Image.fromarray(veil))
  palette = rgb.quantize(60, dither=Image.Dither.NONE)
  indexed = np.asarray(palette.convert('RGB'))
  cut = Image.fromarray(np.where(disc, np.asarray(palette), 60).astype(np.uint8))  # index 60 lies outside the disc
  cut.putpalette(palette.getpalette()[:180] + [0, 0, 0])
  alphas = bytes([128] * 30 + [255] * 30 + [0])
  half = np.where((np.asarray(cut) < 30)[..., None], (indexed + 255.) / 2, indexed)
  bits = np.where(disc, 255, 0)
  two = np.where(disc, levels // 64, 1)  # 1, shown as 85, is used inside the disc too
  deep = levels.astype(int) * 256 + 77
  deep_colors = colors.astype(int) * 256 + 77
  stack = lambda *a: np.concatenate([i.reshape(H, W, -1) for i in a], -1)
  cmyk = Image.merge('CMYK', [*Image.fromarray(255 - colors).split(), Image.new('L', (W, H), 40)])
  shows_cmyk = np.asarray(cmyk.convert('RGB'))
  c, m, y = Image.fromarray(255 - np.asarray(Image.fromarray(np.asarray(cmyk)[..., :3]).convert('YCbCr'))).split()
  ycck = bytearray(encoded(Image.merge('CMYK', [c, m, y, cmyk.split()[3]]), 'JPEG', quality=95, subsampling=0))
  ycck[ycck.index(b'Adobe') + 11] = 2  # its channels are now luminance, two chrominances, black
  exif = Image.Exif()
  exif[0x0112] = 6
  turned = np.asarray(rgb.transpose(Image.Transpose.ROTATE_270))
  other = Image.new('RGB', (W, H), 'green')
  jpeg, webp = dict(near=8, shrunk=2), dict(near=12, shrunk=4)
  return {
      'rgb': Case(encoded(rgb), colors),
      'rgb, key': Case(encoded(keyed(colors), transparency=(0, 0, 0)), on_white),
      'rgba': Case(encoded(rgba), veiled(colors), near=1),
      'grey': Case(encoded(grey), three(grey)),
      'grey, key': Case(encoded(keyed(levels), transparency=0), np.where(disc[..., None], three(grey), 255)),
      'grey, alpha': Case(encoded(la), veiled(three(grey)), near=1),
      'grey of 1 bit': Case(encoded(Image.fromarray(bits.astype(np.uint8)).convert('1')), three(bits)),
      'grey of 1 bit, key': Case(encoded(Image.fromarray(bits.astype(np.uint8)).convert('1'), transparency=0),
                                 np.full((H, W, 3), 255)),
      'grey of 2 bits': Case(png(two, 2, 0), three(85 * two.astype(int))),
      'grey of 2 bits, key': Case(png(two, 2, 0, b'\0\1'), three(np.where(two == 1, 255, 85 * two.astype(int)))),
      'palette': Case(encoded(palette), indexed),
      'palette, key': Case(encoded(cut, transparency=60), np.where(disc[..., None], indexed, 255)),
      'palette, alphas': Case(encoded(cut, transparency=alphas), np.where(disc[..., None], half, 255), near=1),
      'grey of 16 bits': Case(png(deep, 16, 0), three(grey)),
      'grey of 16 bits, key': Case(png(np.where(disc, deep, 9), 16, 0, b'\0\x09'),
                                   np.where(disc[..., None], three(grey), 255)),
      'grey of 16 bits, alpha': Case(png(stack(deep, veil * 257.), 16, 4), veiled(three(grey)), near=1),
      'rgb of 16 bits': Case(png(deep_colors, 16, 2), colors),
      'rgb of 16 bits, key': Case(png(np.where(disc[..., None], deep_colors, 0x0309), 16, 2, b'\3\x09' * 3), on_white),
      'rgba of 16 bits': Case(png(stack(deep_colors, veil * 257.), 16, 6), veiled(colors), near=1),
      'turned': Case(encoded(rgb, exif=exif), turned),
      'turned, 16 bits': Case(encoded(Image.fromarray(deep.astype(np.uint16)), exif=exif),
                              three(grey.transpose(Image.Transpose.ROTATE_270))),
      'turned palette': Case(encoded(palette, exif=exif), np.rot90(indexed, 3)),
      'frames': Case(encoded(rgb, save_all=True, append_images=[other]), colors),
      'profile': Case(encoded(palette, icc_profile=b'not of this image'), indexed),
      'jpeg': Case(encoded(rgb, 'JPEG', quality=95), colors, **jpeg),
      'grey jpeg': Case(encoded(grey, 'JPEG', quality=95), three(grey), **jpeg),
      'turned jpeg': Case(encoded(rgb, 'JPEG', quality=95, exif=exif), turned, **jpeg),
      'cmyk jpeg': Case(encoded(cmyk, 'JPEG', quality=95), shows_cmyk, **jpeg),
      'ycck jpeg': Case(bytes(ycck), shows_cmyk, **jpeg),
      'mpo': Case(encoded(rgb, 'MPO', quality=95, save_all=True, append_images=[other]), colors, **jpeg),
      'webp': Case(encoded(rgb, 'WEBP', quality=95), colors, **webp),
      'webp, alpha': Case(encoded(rgba, 'WEBP', lossless=True, exact=True), veiled(colors), near=1, shrunk=4),
      'turned webp': Case(encoded(rgb, 'WEBP', quality=95, exif=exif), turned, **webp),
      'webp, frames': Case(encoded(rgb, 'WEBP', quality=95, save_all=True, append_images=[other]), colors, **webp),
  }


CASES = cases()
LUMA = np.array([0.299, 0.587, 0.114])


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  assert a.shape == b.shape
  return np.abs(a.astype(int) - b)


# ------------------------------------------------------------------------------------------------------------- modes


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('name', CASES)
def test_every_mode_decodes_to_what_it_shows(name):
  case = CASES[name]
  assert apart(decode(case.data, size=None, channels=3), case.shows).max() <= case.near
  assert apart(decode(case.data, size=None, channels=1)[..., 0], case.shows @ LUMA).max() <= case.near + 1


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('size', (31, 16))
@pytest.mark.parametrize('name', CASES)
def test_every_mode_shrinks_to_what_decode_gives(name, size):
  case = CASES[name]
  small = shrink(case.data, size=size)
  image = Image.open(io.BytesIO(small))
  assert min(image.size) == size and image.mode in ('L', 'RGB') and not image.info.keys() & {'transparency', 'exif'}
  for channels in (3, 1):
    wanted = decode(case.data, size=size, channels=channels)
    off = apart(decode(small, size=size, channels=channels), wanted)
    assert off.mean() <= case.shrunk if case.shrunk else off.max() <= 2


@pytest.mark.parametrize('name', CASES)
def test_small_images_stay_as_they_are_but_are_read_to_the_end(name):
  data = CASES[name].data
  assert shrink(data, size=H) is data and shrink(data, size=None) is data
  if name in ('frames', 'mpo'):  # whose end is that of a frame that is not read
    return
  for share in (0.3, 0.8):
    for size in (None, H, 16):
      with pytest.raises(Exception):  # noqa: B017 of several kinds
        shrink(data[:int(share * len(data))], size=size)
    with pytest.raises(Exception):  # noqa: B017
      decode(data[:int(share * len(data))], size=16, channels=3)


@pytest.mark.parametrize('name', [name for name, case in CASES.items() if case.data[1:4] == b'PNG'])
def test_damage_inside_a_png_is_found(name):
  data = CASES[name].data
  start = data.index(b'IDAT') + 4
  length, = struct.unpack('>I', data[start - 8:start - 4])
  half = data[:start - 8] + struct.pack('>I', length // 2) + data[start - 4:start + length // 2] + data[start + length:]
  checksum = data[:start + length - 2] + bytes(2) + data[start + length:]
  for damaged in (half, checksum):
    for attempt in (lambda d: decode(d, size=16, channels=3), lambda d: shrink(d, size=16),
                    lambda d: shrink(d, size=None)):
      with pytest.raises(OSError, match='data stream|truncated'):
        attempt(damaged)


def test_large_jpegs_shrink_as_they_decode():
  colors, _ = pictures()
  for mode in ('RGB', 'L', 'CMYK'):
    data = encoded(Image.fromarray(colors).resize((1201, 800)).convert(mode), 'JPEG', quality=95)
    small = shrink(data, size=50)
    assert apart(decode(small, size=50, channels=3), decode(data, size=50, channels=3)).max() <= 12


@pytest.mark.parametrize('form', ('PNG', 'JPEG', 'WEBP'))
@pytest.mark.parametrize('orientation', range(9))
def test_every_orientation(orientation, form):
  colors, _ = pictures()
  exif = Image.Exif()
  exif[0x0112] = orientation
  data = encoded(Image.fromarray(colors), form, exif=exif, **({} if form == 'PNG' else dict(quality=95)))
  turns = {2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 5: lambda a: a.swapaxes(0, 1),
           6: lambda a: np.rot90(a, -1), 7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: np.rot90}
  wanted = turns.get(orientation, lambda a: a)(colors)
  assert apart(decode(data, size=None, channels=3), wanted).mean() <= (0 if form == 'PNG' else 4)
  for size in (16, 17):
    small = decode(shrink(data, size=size), size=size, channels=3)
    assert apart(small, decode(data, size=size, channels=3)).mean() <= (0.1 if form == 'PNG' else 4)


def test_malformed_exif_does_not_break_the_picture():
  colors, _ = pictures()
  tag = struct.pack('<HHI4s', 0x0112, 3, 1, struct.pack('<HH', 6, 0))
  text = struct.pack('<HHI4s', 0x011a, 2, 4, b'abc')  # where a resolution is to be
  block = b'Exif\0\0II*\0' + struct.pack('<IH', 8, 2) + tag + text + bytes(4)
  wanted = decode(encoded(Image.fromarray(colors), 'JPEG'), size=None, channels=3)
  for exif, turned in ((block, True), (b'Exif\0\0nothing', False)):
    data = encoded(Image.fromarray(colors), 'JPEG', exif=exif)
    assert np.array_equal(decode(data, size=None, channels=3), np.rot90(wanted, -1) if turned else wanted)
    assert apart(decode(shrink(data, size=16), size=16, channels=3), decode(data, size=16, channels=3)).mean() <= 2


# ----------------------------------------------------------------------------------------------------------- 16 bits


def ramp(bits: int) -> np.ndarray:
  """Grey values i64[16, 256] from 0 to the largest of so many bits."""
  return np.linspace(0, 2 ** bits - 1, 16 * 256).astype(int).reshape(16, 256)


@pytest.mark.parametrize('mode', ('I;16', 'I;16B', 'I'))  # of Pillow's versions
@pytest.mark.parametrize('bits', (8, 9, 10, 12, 14))
def test_few_bits_in_16_keep_their_levels_or_are_refused(bits, mode, monkeypatch):
  monkeypatch.setitem(PngImagePlugin._MODES, (16, 0), (mode, 'I;16B'))
  values = ramp(bits)
  data = png(values, 16, 0)
  for attempt in (lambda **k: decode(data, channels=1, **k), lambda **k: shrink(data, **k)):
    for size in (None, 8):
      with pytest.raises(ValueError, match=f'values end at {2 ** bits - 1}: give bits={bits} .* or bits=16 to take it'):
        attempt(size=size)
      if bits > 8:
        with pytest.raises(ValueError, match=f'{2 ** bits - 1}, which is more than bits=8 hold: give bits={bits}'):
          attempt(size=size, bits=8)
  assert np.array_equal(decode(data, size=None, channels=1, bits=bits)[..., 0], values >> bits - 8)
  assert np.array_equal(decode(data, size=None, channels=1, bits=16)[..., 0], values >> 8)
  small = shrink(data, size=8, bits=bits)
  assert apart(decode(small, size=8, channels=1), decode(data, size=8, channels=1, bits=bits)).max() <= 1
  assert shrink(data, size=16, bits=bits) is data


def test_bits_are_of_16_bit_files_alone():
  assert (decode(png(np.zeros((4, 4)), 16, 0), size=None, channels=1) == 0).all()
  assert np.array_equal(decode(png(ramp(16), 16, 0), size=None, channels=1)[..., 0], ramp(16) >> 8)
  dark = encoded(Image.new('L', (4, 4), 3))
  for bits in (8, 12, 16):
    assert (decode(dark, size=None, channels=1, bits=bits) == 3).all() and shrink(dark, size=8, bits=bits) is dark
  for bits in (0, 7, 17, -12):
    message = f'bits: wanted 8 to 16, or None, got {bits}'
    with pytest.raises(ValueError, match=message):
      decode(dark, size=4, channels=1, bits=bits)
    with pytest.raises(ValueError, match=message):
      shrink(dark, size=4, bits=bits)


def test_a_transparent_value_does_not_hide_that_there_are_few_bits():
  values = ramp(12)
  values[0] = 65535
  data = png(values, 16, 0, b'\xff\xff')
  with pytest.raises(ValueError, match='values end at 4095: give bits=12'):
    decode(data, size=None, channels=1)
  image = decode(data, size=None, channels=1, bits=12)[..., 0]
  assert (image[0] == 255).all() and np.array_equal(image[1:], values[1:] >> 4)


@pytest.mark.parametrize('color, channels', ((2, 3), (4, 2), (6, 4)))
def test_dark_colours_of_16_bits_are_refused(color, channels):
  samples = np.repeat(ramp(12)[..., None], channels, -1)
  if color > 2:
    samples[..., -1] = 65535  # opaque
  data = png(samples, 16, color)
  for size in (None, 8):
    for attempt in (lambda **k: decode(data, channels=3, **k), lambda **k: shrink(data, **k)):
      with pytest.raises(ValueError, match='values end below 4096: convert it to 8 bits .* give bits=16 to take it'):
        attempt(size=size)  # noqa: B023
      with pytest.raises(ValueError, match='high bytes alone: wanted bits=16 or none, got bits=12; convert'):
        attempt(size=size, bits=12)  # noqa: B023
  assert np.array_equal(decode(data, size=None, channels=3, bits=16)[..., 1], ramp(12) >> 8)


# ------------------------------------------------------------------------------------------------------------- sizes


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('form', ('PNG', 'JPEG', 'WEBP', 'MPO'))
def test_megapixels_are_the_limit_and_not_pillows(form, monkeypatch):
  data = encoded(Image.new('RGB', (50, 40)), form)
  for pillows in (1500, 89_478_485):  # pixels: it warns above, here an error, and refuses above twice that
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', pillows)
    for limit in (0.002, 179, 500):
      assert decode(data, size=8, channels=3, megapixels=limit).shape == (8, 8, 3)
      assert shrink(data, size=40, megapixels=limit) is data
      assert len(shrink(data, size=8, megapixels=limit))
    for attempt in (lambda: decode(data, size=8, channels=3, megapixels=0.0019),
                    lambda: shrink(data, size=None, megapixels=0.0019)):
      with pytest.raises(ValueError, match=r'50 x 40, 0.002 megapixels, wanted at most 0.0019: give megapixels='):
        attempt()
    assert pillows == Image.MAX_IMAGE_PIXELS


def test_pillows_own_limit_of_webp_is_told(monkeypatch):
  data = encoded(Image.new('RGB', (50, 40)), 'WEBP')
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 900)
  with pytest.raises(ValueError, match='2000 pixels.*1800 pixels.*WebP.*convert the image to PNG or JPEG'):
    decode(data, size=8, channels=3, megapixels=500)
  data = encoded(Image.new('RGB', (50, 40)), 'PNG')
  assert decode(data, size=8, channels=3).shape == (8, 8, 3)  # the others are ours to judge


@pytest.mark.parametrize('w, h', ((0, 0), (0, 5), (5, 0), (2 ** 31 - 1, 2 ** 31 - 1), (2 ** 32 - 1, 1), (1, 2 ** 30)))
def test_absurd_sizes_are_refused(w, h):
  data = bytearray(png(np.zeros((2, 2)), 16, 0))
  data[16:24] = struct.pack('>II', w, h)
  data[29:33] = struct.pack('>I', zlib.crc32(data[12:29]))
  wanted = 'give megapixels=' if w * h else 'not a JPEG, PNG or WebP file'
  for attempt in (lambda: decode(bytes(data), size=8, channels=3), lambda: shrink(bytes(data), size=8)):
    with pytest.raises(ValueError, match=wanted):
      attempt()


@pytest.mark.parametrize('data', (b'', b'\xff', b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n', b'RIFF\4\0\0\0WAVE',
                                  b'GIF89a' + bytes(99), b'some text'))
def test_other_files_are_refused(data):
  for attempt in (lambda: decode(data, size=8, channels=3), lambda: shrink(data, size=None)):
    with pytest.raises((ValueError, OSError)):
      attempt()


def test_thin_images_shrink():
  for size in ((1, 500), (3, 2000), (700, 2)):
    data = encoded(Image.new('RGB', size, 'red'))
    assert (decode(shrink(data, size=1), size=1, channels=3) == [255, 0, 0]).all()
