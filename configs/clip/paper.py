"""Published numbers of CLIP (arXiv:2103.00020) and its reproduction on LAION-400M, ImageNet-1k zero-shot."""

PUBLISHED = [
    dict(config='vit_b32_laion400m', metric='zero-shot, top-1 %', value='62.96',
         source='mlfoundations/open_clip, docs/PRETRAINED.md, "LAION-400M"', seen='read'),
    dict(config=None, metric="zero-shot, top-1 %, ViT-B/32, the authors' 400 million pairs", value='63.2',
         source='mlfoundations/open_clip, README.md', seen='read'),
]
