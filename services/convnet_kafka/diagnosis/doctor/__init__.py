"""`convnet-kafka doctor`: one function a check, one list of them (`checks.py`), one place for what they find (`findings.py`)."""
