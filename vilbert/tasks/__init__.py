"""One file a task: its published files as examples, its batches, its official measure."""
