"""What models are asked and answer, watched: kept to be looked at, and compared with what they were trained on and with
what turned out to be true. Never slows or fails a request; what there is no room for is counted.
"""
