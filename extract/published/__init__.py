"""Features that others extracted, by the same door as ours.

In: the files of bottom-up attention, LXMERT, vilbert_beta, vilbert-multi-task, VOLTA or bottom-up-attention.pytorch.
Out: a feature store, and a table with a row for every row of the source, taken or not, with the reason.
Commands: `import_features`.
"""
