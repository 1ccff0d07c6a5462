"""What a run shows: what its models answer, all its numbers, and one page with both.

In: whatever of a run is there: models, their predictions and measures, pictures, times. Out: pictures and what was
asked and answered of each (`report/examples/`), all numbers (`report/numbers.json`), and `report/index.html`, which
needs nothing else.
Commands: `examples` of a fine-tuned task, `retrieved` and `attention` of the pretrained model, `page`.
"""
