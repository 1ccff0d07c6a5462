"""From region features and text to models."""
