"""What a measure is read against: baselines that see less than the model or learn nothing, and the ceiling.

In: texts, region stores, counts of a training split. Out: `baselines.json` beside the metrics, a row a measure.
`naive_bayes` counts words, `class_words` holds the detector's classes against a text, `rows` has the table.
"""
