"""Encoded images in, uint8 arrays out.

Pillow decodes: on 500x375 JPEGs OpenCV 5 was at most 1.2 times as fast and on 1600x1200 ones, where Pillow lets libjpeg
scale while decoding, half as fast; simplejpeg was slower than both.
"""
import io
import struct

import numpy as np
from PIL import ExifTags, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp')
READERS = {b'\xff\xd8\xff': JpegImagePlugin.jpeg_factory, b'\x89PNG\r\n\x1a\n': PngImagePlugin.PngImageFile,
           b'RIFF': WebPImagePlugin.WebPImageFile}  # by the first bytes of a file
UPRIGHT = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
           5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
           8: Image.Transpose.ROTATE_90}  # by the EXIF orientation
DARK = 1 << 14  # 16-bit files that stay below hold, most likely, the 10, 12 or 14 bits of a sensor


def decode(data: bytes, *, size: int | None, channels: int, bits: int | None = None,
           megapixels: float = 179) -> np.ndarray:
  """Decodes an image, upright, to u8[size, size, channels] (or u8[h, w, channels] as stored, if size is None).

  The shorter side is resized to `size` (bicubic with antialiasing) and the centre kept. A JPEG whose shorter side is 4
  or more times `size` is decoded at 1/2, 1/4 or 1/8, to no less than twice `size`. The EXIF orientation is applied,
  transparency lies on white, of several frames the first is taken.

  16-bit PNGs: of a grey one the upper 8 of its `bits` are kept. One whose values all end below 16384, and are not all
  0, is refused unless `bits` is given: it may be of 10, 12 or 14 bits, and nearly black if read as 16. Of colours, and
  of grey with alpha, Pillow gives the high bytes alone: dark ones are refused likewise, but values that end below 256
  cannot be told from black, `bits` below 16 is refused, and a transparent colour is compared by its high bytes.

  Args:
    data: a JPEG, PNG or WebP file.
    size: height and width of the result.
    channels: 3 for RGB, 1 for grey.
    bits: of the values in 16-bit files, 8 to 16; 16 takes dark ones as they are. Not used for files of 8 bits or less.
    megapixels: larger images, in millions of pixels as stored, are refused before they are decoded. Pillow itself
      refuses a WebP above 179.
  Raises:
    ValueError: not one of these formats, above `megapixels`, 16-bit values that `bits` does not fit, `bits` outside 8
      to 16.
    Exception: of whatever kind Pillow raises for a broken image.
  """
  mode = {1: 'L', 3: 'RGB'}[channels]
  image = _flat(_open(data, megapixels), data, mode, 2 * size if size else None, bits)
  image = image if image.mode == mode else image.convert(mode)  # which copies
  if size:
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    image = image.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
  return np.asarray(image).reshape(image.height, image.width, channels)


def shrink(data: bytes, *, size: int | None, bits: int | None = None, megapixels: float = 179) -> bytes:
  """Checks that an image decodes, and encodes it anew, in its format, if its shorter side is above `size`.

  Args:
    data, bits, megapixels: as of `decode`.
    size: of the shorter side afterwards; None only checks.
  Returns:
    `data` itself where nothing is resized, which wants the same `bits` when it is decoded; else the upright image, 8
    bits of grey or RGB on white, JPEG and WebP at quality 95.
  Raises:
    ValueError, Exception: as `decode`.
  """
  file = _open(data, megapixels)
  if not size or min(file.size) <= size:
    _flat(file, data, None, 1, bits)  # a JPEG's stream is read to its end at any scale
    return data
  # Pixels are flattened before they are resized, as in `decode`: indices into a palette cannot be interpolated, nor a
  # transparent colour found afterwards. What this drops (alpha, the low byte, CMYK, EXIF, ICC profiles, further frames)
  # `decode`, the one reader of these bytes, drops too.
  form = 'JPEG' if file.format == 'MPO' else file.format
  image = _flat(file, data, None, 2 * size, bits)
  side = min(image.size)
  sides = [size + (s - side) * size // side // 2 * 2 for s in image.size]  # cut so that `decode` meets whole pixels
  left, top = ((s - new * side / size) / 2 for s, new in zip(image.size, sides, strict=True))
  image = image.resize(sides, Image.Resampling.BICUBIC, (left, top, image.width - left, image.height - top))
  image.info = {}  # of the file that was: its profile, orientation, transparent colour
  out = io.BytesIO()
  image.save(out, form, **({} if form == 'PNG' else {'quality': 95}))
  return out.getvalue()


def _open(data: bytes, megapixels: float) -> Image.Image:
  """The file, its header read.

  By the format's class: Image.open asks Image.MAX_IMAGE_PIXELS, one limit for all the threads of a process.
  """
  reader = next((r for magic, r in READERS.items() if data.startswith(magic)), None)
  try:
    if reader is None:
      raise SyntaxError
    file = reader(io.BytesIO(data))
  except (SyntaxError, IndexError, TypeError, struct.error):  # what Image.open takes for 'not this format'
    raise ValueError('not a JPEG, PNG or WebP file') from None
  except Image.DecompressionBombError as error:
    raise ValueError(f'{error} Pillow holds a WebP to that: convert the image to PNG or JPEG, or resize it') from None
  if file.width * file.height > megapixels * 1e6:
    raise ValueError(f'image of {file.width} x {file.height}, {file.width * file.height / 1e6:.4g} megapixels, wanted '
                     f'at most {megapixels:g}: give megapixels= to allow more')
  return file


def _flat(file: Image.Image, data: bytes, mode: str | None, least: int | None, bits: int | None) -> Image.Image:
  """Loads a file to its end, as L or RGB: upright, of 8 bits, on white.

  Args:
    file: opened, not loaded.
    data: its bytes.
    mode: 'L' lets a JPEG give its luminance alone; else it keeps its own mode.
    least: a JPEG of which both sides are twice, 4 or 8 times this is scaled down so often; None: it is not.
    bits: as of `decode`.
  """
  if bits is not None and not 8 <= bits <= 16:
    raise ValueError(f'bits: wanted 8 to 16, or None, got {bits}')
  if least:
    file.draft(mode, (least, least))
  file.load()  # before getexif, which loads a PNG too: no error of the pixels may pass for one of EXIF
  image, key = file, file.info.get('transparency')
  depth = data[24] if file.format == 'PNG' else 8  # bits of a sample, in IHDR, the first chunk
  if image.mode.startswith('I'):
    image = _upper(np.asarray(image), key, bits)
  elif depth == 16:
    high = int(np.asarray(image)[..., :3].max())
    if bits not in (None, 16):
      raise ValueError('16-bit image with colours or alpha, of which Pillow gives the high bytes alone: wanted bits=16 '
                       f'or none, got bits={bits}; convert the image to 8 bits')
    if bits is None and 0 < high < DARK >> 8:
      raise ValueError(f'16-bit image whose values end below {high + 1 << 8}: convert it to 8 bits if they have fewer '
                       'than 16, or give bits=16 to take it as it is')
    if key is not None:
      image.info['transparency'] = tuple(value >> 8 for value in key)
  elif image.mode == 'L' and key is not None:  # Pillow scales samples of 2 and 4 bits to 8, but not the key
    image.info['transparency'] = key % 2 ** depth * 255 // (2 ** depth - 1)
  if image.has_transparency_data:
    image = image.convert('RGBA')
    image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
  if image.mode not in ('L', 'RGB'):
    image = image.convert('L' if image.mode == '1' else 'RGB')
  try:
    turn = UPRIGHT.get(file.getexif().get(ExifTags.Base.Orientation, 1))
  except Exception:  # a malformed EXIF block does not break the picture
    turn = None
  return image if turn is None else image.transpose(turn)


def _upper(values: np.ndarray, key: int | None, bits: int | None) -> Image.Image:
  """The upper 8 of the `bits` of 16-bit grey values [h, w], those equal to `key` white; ValueError: as `decode`."""
  clear = np.zeros(values.shape, bool) if key is None else values == key
  values = np.where(clear, 0, values)
  top = int(values.max())
  # sBIT, the PNG chunk for the bits of a sensor, does not help: where it is set, values are to fill all 16.
  if bits is None and 0 < top < DARK:
    raise ValueError(f'16-bit image whose values end at {top}: give bits={max(8, top.bit_length())} for values of so '
                     'many bits (10, 12 and 14 are usual in a set), or bits=16 to take it as it is')
  bits = bits or 16
  if top >> bits:
    raise ValueError(f'16-bit image with the value {top}, which is more than bits={bits} hold: give bits='
                     f'{top.bit_length()} or more')
  return Image.fromarray(np.where(clear, 255, values >> bits - 8).astype(np.uint8))
