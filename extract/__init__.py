"""From captions and pixels to region features: download, clean, detect, pool, store."""
