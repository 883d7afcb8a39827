"""Views against Pillow, scipy and colorsys; their randomness; the promises of every view set."""
import colorsys
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from scipy import ndimage
from sklearn.datasets import load_digits, load_sample_images

from pretrain.views.byol import byol
from pretrain.views.dino import dino
from pretrain.views.evaluation import evaluation
from pretrain.views.fixmatch import fixmatch
from pretrain.views.mae import mae
from pretrain.views.ops import blur, color, geometry, keys, randaugment
from pretrain.views.simclr import simclr
from pretrain.views.supervised import supervised

pytestmark = pytest.mark.suite('views')


def photos(n: int, h: int, w: int):
  """u8[n, h, w, 3]: crops of two real photographs, half size so that they have detail at 32 pixels."""
  rng = np.random.default_rng(0)
  sources = [np.asarray(Image.fromarray(image).reduce(2)) for image in load_sample_images().images]
  crops = []
  for i in range(n):
    source = sources[i % 2]
    top, left = rng.integers(source.shape[0] - h), rng.integers(source.shape[1] - w)
    crops.append(source[top:top + h, left:left + w])
  return np.stack(crops)


def digits(n: int):
  """u8[n, 8, 8, 1]: handwritten digits."""
  return np.round(load_digits().images[:n, :, :, None] * 255 / 16).astype(np.uint8)


IMAGES = {'photo': photos(16, 32, 40), 'square': photos(16, 32, 32), 'digit': digits(16)}


def pillow(image):
  return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def array(image):
  image = np.asarray(image, np.float64)
  return image if image.ndim == 3 else image[..., None]


def on_planes(op, **static):
  """Jitted `op`, which takes and returns planes, for images with the channels last."""
  def call(images, *args, **more):
    return jnp.moveaxis(op(jnp.moveaxis(images, -1, 1), *args, **static, **more), -3, -1)
  return jax.jit(call, static_argnames=['radius'])


def assert_near(ours, theirs, *, mean: float, most: float):
  """Both in units of one 8-bit step."""
  difference = np.abs(np.asarray(ours, np.float64) - theirs)
  assert difference.mean() <= mean and difference.max() <= most, (difference.mean(), difference.max())


def batch_of(images, start: int = 0, epoch: int = 0, label: bool = True):
  n = len(images)
  batch = {'image': images, 'index': np.arange(start, start + n, dtype=np.int32), 'epoch': np.full(n, epoch, np.int32)}
  return {**batch, 'label': np.arange(n, dtype=np.int32) % 10} if label else batch


# Operations against a reference library -------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['photo', 'digit'])
@pytest.mark.parametrize('size', [5, 24, 48])
def test_crop_resize_is_pillows(name, size):
  images = IMAGES[name]
  n, h, w, _ = images.shape
  rng = np.random.default_rng(size)
  height, width = rng.integers(2, h + 1, n), rng.integers(2, w + 1, n)
  top, left = rng.integers(0, h - height + 1), rng.integers(0, w - width + 1)
  flip = rng.random(n) < 0.5

  @on_planes
  def crop(x, top, left, height, width, flip):
    rows = geometry.resize_weights(top, height, h, size)
    return geometry.resample(x, rows, geometry.resize_weights(left, width, w, size, flip))[:, 0]

  ours = crop(np.float32(images / 255), *(np.float32(x)[:, None] for x in (top, left, height, width)), flip[:, None])
  theirs = []
  for i, image in enumerate(images):
    box = left[i], top[i], left[i] + width[i], top[i] + height[i]
    resized = pillow(image).resize((size, size), Image.Resampling.BILINEAR, box=tuple(map(float, box)))
    theirs.append(array(ImageOps.mirror(resized) if flip[i] else resized))
  assert_near(255 * ours, np.stack(theirs), mean=0.5, most=1.5)  # Pillow rounds after each of its two passes


@pytest.mark.parametrize('reflect', [True, False])
def test_padded_crop_is_numpys(reflect):
  images = IMAGES['photo'][:, :, :, :1]
  u = np.random.default_rng(0).random((16, 1, 2), np.float32)
  flip = np.arange(16)[:, None] % 2 == 1
  shift = on_planes(geometry.random_shift, size=(30, 40), pad=(4, 5), reflect=reflect)
  ours = shift(np.float32(images / 255), u, flip)
  padded = np.pad(images, ((0, 0), (4, 4), (5, 5), (0, 0)), mode='reflect' if reflect else 'constant')
  for i in range(16):
    top, left = int(u[i, 0, 0] * 11), int(u[i, 0, 1] * 11)
    crop = padded[i, top:top + 30, left:left + 40]
    np.testing.assert_array_equal(np.round(255 * np.asarray(ours[i, 0])), crop[:, ::-1] if flip[i, 0] else crop)


@pytest.mark.parametrize('shape', [(48, 36), (32, 32), (20, 50)])
def test_evaluation_resizes_the_shorter_side_and_crops_the_centre(shape):
  images = photos(4, *shape)
  ours = 255 * np.asarray(jax.jit(evaluation(size=24))(images))
  h, w = shape
  resized = (24, 24 * h // w) if w < h else (24 * w // h, 24)
  left, top = round((resized[0] - 24) / 2), round((resized[1] - 24) / 2)
  theirs = [array(pillow(i).resize(resized, Image.Resampling.BILINEAR).crop((left, top, left + 24, top + 24)))
            for i in images]
  assert_near(ours, np.stack(theirs), mean=0.5, most=1.5)


def test_evaluation_leaves_the_right_size_alone():
  for images in (IMAGES['square'], IMAGES['digit']):
    ours = evaluation(size=images.shape[1])(jnp.array(images))
    np.testing.assert_array_equal(np.round(255 * np.asarray(ours)).astype(np.uint8), images)


gaussian_blur = on_planes(blur.gaussian_blur)


@pytest.mark.parametrize('sigma', [0.1, 0.7, 2.0])
@pytest.mark.parametrize('radius', [1, 8])
def test_blur_is_scipys(sigma, radius):
  for images in (IMAGES['photo'], IMAGES['digit']):
    x = images / 255
    ours = gaussian_blur(np.float32(x), np.full(16, sigma, np.float32), np.arange(16) > 0, radius=radius)
    np.testing.assert_array_equal(ours[0], np.float32(x[0]))
    reach = min(radius, images.shape[1] - 1)  # for the digits, which are smaller than the widest kernel
    theirs = ndimage.gaussian_filter(x, sigma, axes=(1, 2), radius=reach, mode='mirror')
    np.testing.assert_allclose(ours[1:], theirs[1:], atol=1e-5)


def test_blur_is_near_pillows():
  images = IMAGES['photo']
  ours = gaussian_blur(np.float32(images / 255), np.full(16, 1.5, np.float32), np.arange(16) >= 0, radius=8)
  theirs = np.stack([array(pillow(image).filter(ImageFilter.GaussianBlur(1.5))) for image in images])
  inside = np.s_[:, 6:-6, 6:-6]  # Pillow repeats the border, we mirror it; its box filters are a few per cent off
  assert_near(255 * ours[inside], theirs[inside], mean=1.5, most=10)


jitter = on_planes(color.jitter, strength=(0.8, 0.8, 0.8, 0.2), probability=0.8)
apply_operation = on_planes(randaugment.apply_operation)


def jitter_one(images, change: int, factor: float):
  """Our jitter with one change only, of a known factor, through the public function."""
  u = np.full((len(images), color.JITTER_DRAWS), 0.5, np.float32)  # in the middle nothing changes
  u[:, :4] = np.random.default_rng(0).random((len(images), 4))
  u[:, 4 + change] = (factor + 0.2) / 0.4 if change == 3 else (factor - 0.2) / 1.6
  return 255 * np.asarray(jitter(np.float32(images / 255), u))


@pytest.mark.parametrize('factor', [0.3, 0.9, 1.7])
@pytest.mark.parametrize('change, enhance', [(0, ImageEnhance.Brightness), (1, ImageEnhance.Contrast),
                                             (2, ImageEnhance.Color)])
def test_jitter_is_pillows(change, enhance, factor):
  for images in (IMAGES['photo'], IMAGES['digit']):
    if images.shape[-1] == 3 or change < 2:
      theirs = np.stack([array(enhance(pillow(image)).enhance(factor)) for image in images])
      assert_near(jitter_one(images, change, factor), theirs, mean=1.0, most=2.0)  # Pillow cuts decimals off


def test_hue_is_colorsys():
  images = IMAGES['photo'][:2]
  for shift in (-0.19, 0.07):
    ours = jitter_one(images, 3, shift)
    theirs = []
    for r, g, b in images.reshape(-1, 3) / 255:
      hue, saturation, value = colorsys.rgb_to_hsv(r, g, b)
      theirs.append(colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value))
    assert_near(ours, 255 * np.array(theirs).reshape(images.shape), mean=1e-3, most=1e-2)


def test_jitter_order_is_random_and_followed():
  """Each example equals the four references in one of the 24 orders; all kinds of order occur."""
  n = 64
  image = photos(1, 8, 8)[0] / 255
  u = np.random.default_rng(1).random((n, color.JITTER_DRAWS), np.float32)
  ours = jitter(jnp.broadcast_to(jnp.float32(image), (n, 8, 8, 3)), u)

  def grey(x):
    return x @ [0.299, 0.587, 0.114]

  def turn(x, shift):
    hsv = [colorsys.rgb_to_hsv(*pixel) for pixel in x.reshape(-1, 3)]
    return np.array([colorsys.hsv_to_rgb((h + shift) % 1, s, v) for h, s, v in hsv]).reshape(x.shape)

  firsts = set()
  for i in range(n):
    order, x = np.argsort(u[i, :4]), image
    factor = [*(0.2 + 1.6 * u[i, 4:7]), 0.4 * u[i, 7] - 0.2]
    changes = [lambda x, f: np.clip(f * x, 0, 1),
               lambda x, f: np.clip(f * x + (1 - f) * grey(x).mean(), 0, 1),
               lambda x, f: np.clip(f * x + (1 - f) * grey(x)[..., None], 0, 1), turn]
    for change in order if u[i, 8] < 0.8 else ():
      x = changes[change](x, factor[change])
    firsts.add(order[0])
    np.testing.assert_allclose(ours[i], x, atol=2e-4)
  assert firsts == {0, 1, 2, 3}
  assert (np.abs(ours - np.float32(image)).max((1, 2, 3)) == 0).sum() == (u[:, 8] >= 0.8).sum()


def test_grey_and_solarize_are_pillows():
  images, apply = IMAGES['photo'], np.arange(16) % 2 == 0
  x = keys.to_float(jnp.array(images))
  grey = [array(pillow(i).convert('L').convert('RGB')) if a else i for i, a in zip(images, apply, strict=True)]
  assert_near(255 * on_planes(color.grayscale)(x, apply), np.stack(grey), mean=0.3, most=0.6)
  solar = [array(ImageOps.solarize(pillow(i), 128)) if a else i for i, a in zip(images, apply, strict=True)]
  assert_near(255 * on_planes(color.solarize)(x, apply), np.stack(solar), mean=1e-3, most=1e-2)


def affine(a=1, b=0, c=0, d=0, e=1, f=0):
  return lambda image, fill: image.transform(image.size, Image.Transform.AFFINE, (a, b, c, d, e, f), fillcolor=fill)


POOL = {  # operation: Pillow's, of the image, the place m in table 12's range, and the colour of nothing
  'AutoContrast': lambda i, *_: ImageOps.autocontrast(i),
  'Brightness': lambda i, m, _: ImageEnhance.Brightness(i).enhance(0.05 + 0.9 * m),
  'Color': lambda i, m, _: ImageEnhance.Color(i).enhance(0.05 + 0.9 * m),
  'Contrast': lambda i, m, _: ImageEnhance.Contrast(i).enhance(0.05 + 0.9 * m),
  'Equalize': lambda i, *_: ImageOps.equalize(i),
  'Identity': lambda i, *_: i,
  'Posterize': lambda i, m, _: ImageOps.posterize(i, 4 + int(5 * m)),
  'Rotate': lambda i, m, fill: i.rotate(60 * m - 30, fillcolor=fill),
  'Sharpness': lambda i, m, _: ImageEnhance.Sharpness(i).enhance(0.05 + 0.9 * m),
  'ShearX': lambda i, m, fill: affine(b=0.6 * m - 0.3)(i, fill),
  'ShearY': lambda i, m, fill: affine(d=0.6 * m - 0.3)(i, fill),
  'Solarize': lambda i, m, _: ImageOps.solarize(i, 256 * m),
  'TranslateX': lambda i, m, fill: affine(c=(0.6 * m - 0.3) * i.size[0])(i, fill),
  'TranslateY': lambda i, m, fill: affine(f=(0.6 * m - 0.3) * i.size[1])(i, fill),
}


@pytest.mark.parametrize('name', list(POOL))
@pytest.mark.parametrize('kind', ['photo', 'digit'])
def test_randaugment_operation_is_pillows(name, kind):
  images = IMAGES[kind]
  assert tuple(POOL) == randaugment.POOL
  fill = 128 if kind == 'digit' else (128, 128, 128)
  magnitude = np.random.default_rng(0).random(16, np.float32)
  chosen = np.full(16, list(POOL).index(name))
  ours = apply_operation(jnp.float32(images), chosen, magnitude)
  theirs = np.stack([array(POOL[name](pillow(i), float(m), fill)) for i, m in zip(images, magnitude, strict=True)])
  if name in ('Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY'):  # Pillow counts in 1 / 65536 of a pixel
    assert (np.asarray(ours) != theirs).any(-1).mean() < 2e-3
  else:  # one step off where a float lies on the edge of a whole number
    assert_near(ours, theirs, mean=0.02, most=1.0)


def test_randaugment_mixes_operations_without_crosstalk():
  """A batch where each example draws its own operation equals the operations one at a time."""
  images, magnitude, chosen = jnp.float32(IMAGES['square']), jnp.linspace(0, 0.99, 16), np.arange(16) % 14
  mixed = apply_operation(images, chosen, magnitude)
  for i in range(14):
    alone = apply_operation(images, np.full(16, i), magnitude)
    np.testing.assert_array_equal(mixed[chosen == i], alone[chosen == i])


@pytest.mark.parametrize(('platform', 'barriers'), [('cpu', 4), ('cuda', 0), ('tpu', 0)])
def test_randaugment_keeps_its_stages_in_memory_on_cpus_alone(platform, barriers):
  """Elsewhere the compiler fuses what it likes: a barrier would write and read every stage."""
  images, u = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((8, 3, 16, 16), (8, 1, 2)))
  text = jax.jit(randaugment.rand_augment).trace(images, u).lower(lowering_platforms=(platform,)).as_text()
  assert text.count('optimization_barrier') == barriers


def test_randaugment_applies_an_operation_with_its_probability():
  """Below it a draw is that of a sure operation, stretched; above it the image stays; two draws are independent."""
  n = 4000
  images, u = jnp.float32(photos(n, 8, 8)).transpose(0, 3, 1, 2), np.random.default_rng(0).random((n, 2, 2), np.float32)
  augment = jax.jit(randaugment.rand_augment, static_argnames='probability')
  sure, never = (np.asarray(augment(images, u[:, :1], probability=p)) for p in (1., 0.))
  np.testing.assert_array_equal(never, images)
  half = np.asarray(augment(images, u[:, :1], probability=0.5))
  stretched = np.asarray(augment(images, np.where([True, False], 2 * u[:, :1], u[:, :1]), probability=1.))
  np.testing.assert_array_equal(half, np.where(u[:, :1, :1, None] < 0.5, stretched, images))
  changed = lambda x: np.mean(np.any(np.asarray(x) != images, (1, 2, 3)))
  assert changed(sure) > 0.7  # 13 of 14 operations, some of which do nothing to some images
  assert abs(changed(half) - 0.5 * changed(sure)) < 4 * (0.25 / n) ** 0.5
  both = changed(augment(images, u, probability=0.5))
  assert abs(both - (1 - (1 - 0.5 * changed(sure)) ** 2)) < 4 * (0.25 / n) ** 0.5


def test_small_views_are_blurred_too():
  """Of 8 pixels the kernel would have none to each side."""
  batch = {'image': photos(4, 8, 8), 'index': np.arange(4), 'epoch': np.zeros(4, np.int32)}
  sharp, soft = (jax.jit(simclr(size=8, scale=(1., 1.), jitter=0., jitter_probability=0., grayscale=0., blur=blur))(
      batch, jax.random.key(0))['views'] for blur in (0., 1.))
  assert np.abs(sharp - soft).max() > 1e-2


@pytest.mark.parametrize(('name', 'ends'), [
    ('Rotate', (0.35, 0.65)), ('ShearX', (0.35, 0.65)), ('ShearY', (0.35, 0.65)), ('TranslateX', (0.35, 0.65)),
    ('TranslateY', (0.35, 0.65)), ('Brightness', (0.7, 1.)), ('Posterize', (0.7, 1.)), ('Solarize', (0.7, 1.))])
def test_a_magnitude_draws_from_the_weak_part_of_an_operations_range(name, ends):
  """At 0.3: 30 % of it, about the middle where it has a sign, at its upper end otherwise; drawn evenly."""
  places = randaugment.weakened(jnp.full(3, randaugment.POOL.index(name)), jnp.float32([0., 0.5, 1.]), 0.3)
  np.testing.assert_allclose(places, [ends[0], sum(ends) / 2, ends[1]], rtol=1e-6)


def test_the_views_pass_the_probability_of_their_operations_on():
  n = 400
  images = photos(n, 8, 8)
  raw = lambda: {'image': jnp.asarray(images), 'index': jnp.arange(n), 'epoch': jnp.zeros(n, jnp.int32)}
  batch = {'labeled': raw() | {'label': jnp.zeros(n, jnp.int32)}, 'unlabeled': raw()}
  changed = {}
  for probability in (1., 0.5, 0.):
    options = dict(operations=1, probability=probability, flip=0.)
    strong = jax.jit(fixmatch(translate=0., cutout_share=0., **options))(batch, jax.random.key(0))['strong']
    crop = jax.jit(supervised(size=8, pad=0, **options))(raw(), jax.random.key(0))['image']
    made = np.stack([strong, crop])
    changed[probability] = np.mean(np.abs(made - images / 255).max((2, 3, 4)) > 1e-3, 1)
  assert np.all(changed[1.] > 0.7) and np.all(changed[0.] == 0)
  assert np.all(np.abs(changed[0.5] - changed[1.] / 2) < 0.08)


def test_cutout_greys_a_square():
  images = jnp.zeros((512, 32, 32, 3))
  u = np.random.default_rng(0).random((512, 2), np.float32)
  ours = np.asarray(on_planes(randaugment.cutout, share=0.5)(images, u))
  assert set(np.unique(ours)) == {0, 128}
  assert (ours > 0).sum((1, 2, 3)).max() == 16 * 16 * 3 and (ours > 0).sum((1, 2, 3)).min() >= 8 * 8 * 3
  for hole, (row, column) in zip(ours[:20, :, :, 0], np.int32(u * 32), strict=False):
    theirs = np.zeros((32, 32))
    theirs[max(0, row - 8):row + 8, max(0, column - 8):column + 8] = 128
    np.testing.assert_array_equal(hole, theirs)


# Distributions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('h, w', [(224, 300), (32, 32)])
def test_boxes_have_the_promised_area_and_ratio(h, w):
  u = jax.random.uniform(jax.random.key(0), (4096, geometry.BOX_DRAWS))
  sample = jax.jit(lambda u: geometry.sample_boxes(u, h, w, scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3)))
  boxes = np.asarray(sample(u))
  top, left, height, width = boxes.T
  np.testing.assert_array_equal(boxes, np.round(boxes))
  assert top.min() == 0 == left.min() and (top + height).max() == h and (left + width).max() == w
  slack = 0.5 / height + 0.5 / width  # sides are rounded to pixels
  assert np.all(height * width / (h * w) >= 0.2 * (1 - slack)) and np.all(height * width <= h * w)
  assert np.all(width / height >= 3 / 4 * (1 - 2 * slack)) and np.all(width / height <= 4 / 3 * (1 + 2 * slack))
  exact = 0  # the first try that fits decides: the loop in Python, an example at a time
  for row, box in zip(np.asarray(u[:200], np.float64), boxes, strict=False):
    for area, aspect in zip(row[:10], row[10:20], strict=True):
      area, aspect = h * w * (0.2 + 0.8 * area), np.exp(np.log(3 / 4) + (np.log(4 / 3) - np.log(3 / 4)) * aspect)
      sides = round(np.sqrt(area / aspect)), round(np.sqrt(area * aspect))
      if 0 < sides[0] <= h and 0 < sides[1] <= w:
        expected = int(row[20] * (h - sides[0] + 1)), int(row[21] * (w - sides[1] + 1)), *sides
        break
    assert np.abs(box - expected).max() <= 1  # where float32 falls on the other side of a half
    exact += (box == expected).all()
  assert exact >= 198


@pytest.mark.parametrize('h, w, expected', [(10, 100, (0, 43, 10, 13)), (100, 10, (43, 0, 13, 10))])
def test_box_falls_back_to_the_centre(h, w, expected):
  u = jax.random.uniform(jax.random.key(0), (64, geometry.BOX_DRAWS))
  boxes = jax.jit(lambda u: geometry.sample_boxes(u, h, w, scale=(0.9, 1.0), ratio=(3 / 4, 4 / 3)))(u)
  np.testing.assert_array_equal(boxes, np.tile(expected, (64, 1)))


def rate_is(hits, probability):
  n = hits.size
  assert abs(hits.mean() - probability) <= 4 * np.sqrt(probability * (1 - probability) / n), (hits.mean(), probability)


def noise(h: int, w: int):
  """u8[h, w, 3] that no flip, grey or inversion leaves alone."""
  return np.random.default_rng(0).integers(0, 256, (h, w, 3), np.uint8)


def test_probabilities_over_4096_examples():
  """Without jitter a view is the image flipped or not, grey or not, solarized or not: eight candidates, in NumPy."""
  n, image = 4096, noise(8, 8)
  views = simclr(size=8, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.3, jitter=1.0, jitter_probability=0.6,
                 grayscale=0.2, blur=0.0, solarize=0.25)
  x = np.asarray(jax.jit(views)(batch_of(np.tile(image, (n, 1, 1, 1))), jax.random.key(1))['views'])
  candidates = []
  for kind in np.ndindex(2, 2, 2):
    y = image / 255
    y = y[:, ::-1] if kind[0] else y
    y = np.repeat(y @ [[0.299], [0.587], [0.114]], 3, -1) if kind[1] else y
    candidates.append(np.where(y >= 0.5, 1 - y, y) if kind[2] else y)
  near = np.stack([np.abs(x - y).max((2, 3, 4)) < 1e-3 for y in candidates], -1)  # [n, 2, 8]
  assert near.sum(-1).max() == 1
  plain = near.any(-1)
  rate_is(plain, 0.4)
  rate_is(plain.all(1), 0.4 ** 2)  # the two views are independent
  kinds = np.array(list(np.ndindex(2, 2, 2)))[np.argmax(near[plain], -1)]  # [about 0.4 * 2 n, 3]
  probabilities = (0.3, 0.2, 0.25)
  for i, probability in enumerate(probabilities):
    rate_is(kinds[:, i], probability)
    rate_is(kinds[:, i] * kinds[:, i - 1], probability * probabilities[i - 1])


def test_dino_blurs_and_solarizes_unevenly():
  n, image = 2048, noise(8, 8)
  views = dino(size=8, local_size=8, local_crops=2, global_scale=(1.0, 1.0), local_scale=(1.0, 1.0), ratio=(1.0, 1.0),
               flip=0.0, jitter_probability=0.0, grayscale=0.0, blur=(1.0, 0.0, 0.5), solarize=0.2)
  x = jax.jit(views)(batch_of(np.tile(image, (n, 1, 1, 1))), jax.random.key(1))
  x = np.concatenate([x['global'], x['local']], 1)
  y = image / 255
  same, solar = (np.abs(x - y).max((2, 3, 4)) < 1e-3 for y in (y, np.where(y >= 0.5, 1 - y, y)))  # [n, 2 + 2]
  invisible = 0.1  # most of the share of blurs with deviations from 0.1 to 0.29, which change less than a thousandth
  assert same[:, 0].mean() < invisible and 0.5 <= same[:, 2:].mean() < 0.5 + invisible
  assert (same | solar)[:, 1].all() and not solar[:, [0, 2, 3]].any()
  rate_is(solar[:, 1], 0.2)


def test_weak_shifts_reach_an_eighth_uniformly():
  image = np.zeros((1, 16, 16, 1), np.uint8)
  image[0, 8, 8] = 255
  batch, views = batch_of(np.tile(image, (4096, 1, 1, 1))), fixmatch(flip=0.0)
  both = {'labeled': batch, 'unlabeled': batch}
  x = jax.jit(lambda key: [views(both, key)[name] for name in ('image', 'weak')])(jax.random.key(0))
  places = np.stack([np.argmax(np.asarray(y).reshape(4096, -1), 1) for y in x])  # [2, 4096]
  for shift in (places // 16 - 8, places % 16 - 8):
    for step in range(-2, 3):
      rate_is(shift == step, 1 / 5)
  rate_is(places[0] == places[1], 1 / 25)  # the streams are independent


def test_strong_is_a_chain_of_uniform_operations_then_a_cutout():
  n, image = 4096, np.full((8, 8, 1), 200, np.uint8)
  batch, key = batch_of(np.tile(image, (n, 1, 1, 1))), jax.random.key(0)

  def strong(**settings):
    x = jax.jit(fixmatch(**settings))({'labeled': batch, 'unlabeled': batch}, key)['strong']
    return np.round(255 * np.asarray(x))

  holes = strong(operations=0) == 128
  assert (strong(operations=0)[~holes] == 200).all() and holes.sum((1, 2, 3)).max() == 16
  one = strong(operations=1, cutout_share=0.0)[..., 0]
  for axis in (1, 2):  # a whole column, or row, uncovered: translation by more than half of at most 2.4 pixels
    rate_is((one == 128).all(axis).any(1), (1 - 0.5 / 2.4) / 14)
  one = one[:, 4, 4]
  rate_is(one == 55, 201 / 256 / 14)  # Solarize below 201 of 256
  rate_is(one == 192, 1 / 5 / 14)  # Posterize to 4 of 4..8 bits
  two = strong(operations=2, cutout_share=0.0)[:, 4, 4]
  assert (two != 200).mean() > 1.7 * (one != 200).mean()


# Promises of every view set -------------------------------------------------------------------------------------------

CROPS = {'size': 16, 'scale': (0.2, 1.0)}
JITTER = {'jitter': 1.0, 'blur': 0.5, 'solarize': 0.2}
DINO = {'size': 16, 'local_size': 8, 'local_crops': 3, 'global_scale': (0.4, 1.0), 'local_scale': (0.05, 0.4)}
SETS = {
  'simclr': (simclr(**CROPS, **JITTER), {'views': (2, 16, 16)}),
  'dino': (dino(**DINO), {'global': (2, 16, 16), 'local': (3, 8, 8)}),
  'mae': (mae(**CROPS), {'image': (16, 16)}),
  'resized': (supervised(**CROPS), {'image': (16, 16)}),
  'padded': (supervised(size=32, pad=4), {'image': (32, 32)}),
  'fixmatch': (fixmatch(), {'image': (32, 32), 'weak': (32, 32), 'strong': (32, 32)}),
}


def make_batch(name, n: int, channels: int, epoch: int = 0):
  images = photos(n, 32, 32)[..., :channels]
  if name != 'fixmatch':
    return batch_of(images, start=100, epoch=epoch)
  return {'labeled': batch_of(images, epoch=epoch), 'unlabeled': batch_of(images, start=50, epoch=epoch, label=False)}


@pytest.fixture(scope='module', params=[(name, channels) for name in SETS for channels in (1, 3)],
                ids=lambda p: f'{p[0]}-{p[1]}')
def case(request):
  name, channels = request.param
  traces = []

  def traced(batch, key):
    traces.append(1)
    return SETS[name][0](batch, key)

  return name, channels, jax.jit(traced), traces


def images_of(name, batch):
  return {k: np.asarray(batch[k]) for k in SETS[name][1]}


def test_views_keep_the_contract(case):
  name, channels, views, traces = case
  batch = make_batch(name, 8, channels)
  out = views(batch, jax.random.key(0))
  images = images_of(name, out)
  for k, shape in SETS[name][1].items():
    assert images[k].dtype == np.float32 and images[k].shape == (8, *shape, channels)
    assert images[k].min() >= 0 and images[k].max() <= 1 and images[k].std() > 0.05
  assert set(out) == {*images, 'index', 'label'}
  source = batch['unlabeled'] if name == 'fixmatch' else batch
  np.testing.assert_array_equal(out['index'], source['index'])
  np.testing.assert_array_equal(out['label'], (batch['labeled'] if name == 'fixmatch' else batch)['label'])
  views(make_batch(name, 8, channels, epoch=3), jax.random.key(9))
  assert len(traces) == 1


def test_views_depend_on_key_index_and_epoch_alone(case):
  name, channels, views, _ = case
  batch, key = make_batch(name, 8, channels), jax.random.key(0)
  whole = images_of(name, views(batch, key))
  order = np.random.default_rng(0).permutation(8)
  permuted = images_of(name, views(jax.tree.map(lambda x: x[order], batch), key))
  for k in whole:
    np.testing.assert_array_equal(permuted[k], whole[k][order])
  if channels == 3:
    half = images_of(name, jax.jit(SETS[name][0])(jax.tree.map(lambda x: x[:4], batch), key))
    for k in whole:
      np.testing.assert_allclose(half[k], whole[k][:4], atol=1e-6)


def test_views_differ_with_key_index_and_epoch(case):
  """The same image eight times: every row differs by its index, and again with another key or epoch."""
  name, channels, views, _ = case

  def same(epoch):
    def stream(batch):
      return {**batch, 'image': np.repeat(batch['image'][:1], 8, 0)}
    batch = make_batch(name, 8, channels, epoch=epoch)
    return jax.tree.map(stream, batch, is_leaf=lambda x: 'image' in x)

  base = images_of(name, views(same(0), jax.random.key(0)))
  for k, x in base.items():
    assert len(np.unique(x.reshape(8, -1), axis=0)) >= 6, k  # a padded crop has few outcomes: some rows may agree
    for i, j in itertools.combinations(range(x.shape[1]) if x.ndim == 5 else (), 2):
      assert (x[:, i] != x[:, j]).reshape(8, -1).any(1).sum() >= 6, (k, i, j)
  for other in (views(same(0), jax.random.key(1)), views(same(1), jax.random.key(0))):
    for k, x in images_of(name, other).items():
      assert (x != base[k]).reshape(8, -1).any(1).sum() >= 6, k


ALONE = {'jitter_probability': 0.0, 'grayscale': 0.0, 'flip': 0.0}
STILL = {'translate': 0.0, 'flip': 0.0, 'strongs': 2}
APART = {  # sets whose views have the same settings; of some a single source of their draws is left
  'byol': (byol(size=8, scale=(0.2, 1.0), blur=(0.0, 0.0), solarize=(0.0, 0.0), **ALONE), ['views']),
  'dino': (dino(**DINO | {'local_crops': 0, 'size': 8}, blur=(0.0, 0.0, 0.0), solarize=0.0, **ALONE), ['global']),
  'fixmatch': (fixmatch(operations=0, cutout_share=0.0, labeled_strong=True),
               ['image', 'image_strong', 'weak', 'strong']),
  'operations': (fixmatch(**STILL, operations=1, cutout_share=0.0), ['strongs']),
  'holes': (fixmatch(**STILL, operations=0), ['strongs']),
}


@pytest.mark.parametrize('name', APART)
def test_each_view_of_each_example_is_drawn_apart(name):
  """Of one image and index, as labeled and as unlabeled, and of the same pixels at other indices."""
  (views, names), batch = APART[name], batch_of(np.repeat(photos(1, 16, 16), 16, 0))
  made = jax.jit(views)(batch if name in ('byol', 'dino') else {'labeled': batch, 'unlabeled': batch},
                        jax.random.key(0))
  made = np.concatenate([np.reshape(made[k], (16, -1, np.prod(made[k].shape[-3:]))) for k in names], 1)  # [b, v, ...]
  each = made.shape[1]
  assert each == (4 if name == 'fixmatch' else 2)
  for i in range(each):
    assert len(np.unique(made[:, i], axis=0)) >= 10, i  # some outcomes are the same by chance
    for j in range(i):
      assert (made[:, i] != made[:, j]).any(-1).sum() >= 10, (i, j)


def test_no_label_of_the_unlabeled_stream_gets_through():
  batch = make_batch('fixmatch', 4, 3)
  unlabeled = make_batch('fixmatch', 6, 3)['unlabeled']
  for extra in ({}, {'label': np.zeros(6, np.int32)}):
    streams = {'labeled': batch['labeled'], 'unlabeled': {**unlabeled, **extra}}
    out = jax.eval_shape(fixmatch(), streams, jax.random.key(0))
    shapes = {name: x.shape for name, x in out.items()}
    assert shapes == {'image': (4, 32, 32, 3), 'label': (4,), 'weak': (6, 32, 32, 3), 'strong': (6, 32, 32, 3),
                      'index': (6,)}


def test_what_is_absent_stays_absent():
  key = jax.random.key(0)
  assert set(jax.eval_shape(mae(**CROPS), batch_of(IMAGES['square'], label=False), key)) == {'image', 'index'}
  assert 'local' not in jax.eval_shape(dino(**{**DINO, 'local_crops': 0}), batch_of(IMAGES['square']), key)


def test_helpful_errors():
  key = jax.random.key(0)
  with pytest.raises(ValueError, match='uint8'):
    jax.eval_shape(mae(**CROPS), batch_of(np.float32(IMAGES['square'])), key)
  with pytest.raises(ValueError, match=r'scale\[0\]'):
    jax.eval_shape(mae(size=8, scale=(0.0, 1.0)), batch_of(IMAGES['square']), key)
  for settings in ({}, {'scale': (0.2, 1.0), 'pad': 4}):
    with pytest.raises(ValueError, match='give scale'):
      supervised(size=8, **settings)
  with pytest.raises(ValueError, match='cannot cut'):
    jax.eval_shape(supervised(size=48, pad=4), batch_of(IMAGES['square']), key)
  with pytest.raises(ValueError, match='hue'):
    color.jitter(jnp.zeros((1, 3, 2, 2)), jnp.zeros((1, 9)), strength=(0, 0, 0, 0.6), probability=1.0)
