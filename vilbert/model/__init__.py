"""The models: configurations, layers, heads, losses, processor.

In: token ids, features and boxes of regions, as `inputs` checks them. Out: what each head predicts, and the losses.
`directory` writes a trained model with what it was made of; `flops` counts a step's operations.
Commands: none.
"""
