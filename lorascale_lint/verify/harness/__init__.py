"""Running LoRA code that nobody wrote a driver for.

    sketches.py (what the analysis saw) -> guess.py, layers.py -> description.py
    description.py -> values.py, subjects.py -> properties.py -> questions.py (for the child)

A *description* says of one function or class which parameter, attribute or key is what. From it the child
builds arguments and objects, and `properties.py` asks what can be answered without a reference
implementation. All but `sketches.py` and `report.py` runs in the child.
"""
