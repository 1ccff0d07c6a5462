"""Retrieval that scales: a dual encoder that learns from a ViLBERT's scores, an index of images, and what finds in it.

In: captions, feature stores and a model that scores pairs (the teacher). Out: a dual encoder (`search/model`), the
embeddings of all images and an index of them (`search/index`), what it finds and costs (`report/search.csv`).
Commands: `distil` trains the dual encoder, `embed` makes the embeddings of a shard, `index` an index of them, `folder`
both of one's own pictures, `query` searches, `evaluate` measures.
"""
