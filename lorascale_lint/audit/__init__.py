"""Does a merged checkpoint hold the adapter at its trained strength?"""
