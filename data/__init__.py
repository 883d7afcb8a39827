"""What a model learns from: sources of images and text on the host, their wrappers, and the loader that orders them.

A source is random access and every example has a global index. What the loader and the wrappers ask of one:
  len(source)            number of examples n
  source[i]              {'image': u8[h, w, c], 'label': i32 scalar, 'index': int}
  source.batch(indices)  positions i64[b] -> {'image': u8[b, h, w, c], 'label': i32[b], 'index': i32[b]}
  source.shape           (h, w, c)
  source.classes         names of the classes, or None
  source.labels          i32[n] without decoding an image, or None
  source.take(indices)   the source of these positions; `index` stays the one in the whole set
  source.unlabeled()     the source without labels: no 'label' key, no classes, no captions
  source.captions        `data.text.Captions` or None; with them batches have 'tokens' i32[b, l]
Clips have 'image' u8[t, h, w, c]; text and tables have no image, but 'tokens' i32[l] or 'row' f32[f], and shape (l,) or
(f,). Nothing here uses JAX: batches are NumPy arrays, and all that touches pixels beyond decoding runs on the device.
"""
