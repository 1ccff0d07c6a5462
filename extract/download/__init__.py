"""Everything that fetches, and nothing else does.

In: rows and their urls; or a published tar, a csv with a folder of pictures, a folder of images. Out: a shard's images
as a tar, and a table of what arrived and what did not, with the reason (`images/`).
Commands: `shard` fetches the urls, `webdataset`, `captioned_folder` and `folder` import what is there already,
`published_file` fetches one file, `site` serves the drawn world.
"""
