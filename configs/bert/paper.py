"""Published numbers of How to Train BERT with an Academic Budget (arXiv:2104.07705v2), GLUE."""
PAPER = 'arXiv:2104.07705'

PUBLISHED = [
    dict(config='large_academic', metric='MNLI matched, accuracy %', value='84.4',
         source=PAPER, seen='quoted in paperswithcode.com, page of the paper'),
    dict(config='large_academic', metric='MNLI mismatched, accuracy %', value='83.8',
         source=PAPER, seen='quoted in paperswithcode.com, page of the paper'),
    dict(config='large_academic', metric='QNLI, accuracy %', value='90.6',
         source=PAPER, seen='quoted in paperswithcode.com, page of the paper'),
    dict(config='large_academic', metric='SST-2, accuracy %', value='93.0',
         source=PAPER, seen='quoted in paperswithcode.com, page of the paper'),
    dict(config='large_academic', metric='CoLA, as "accuracy" there', value='57.1',
         source=PAPER, seen='quoted in paperswithcode.com, page of the paper'),
]
