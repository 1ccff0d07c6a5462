"""What a GPU does with this project, beside what it could do: `python -m benchmarks gpu`.

`report` runs the sections one after another and says what each found; a section is a function that takes a `Machine`
and gives rows. To add one, add it to `report.SECTIONS`.
"""
