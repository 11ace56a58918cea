"""How long what is open will take, as a range that holds, and whose turn it is.

`Rate` is the farm's pace with its spread, `busy.py` says when there was work for it, `line.py` what is dispatched
before a job, `Forecast` uses all three.
Pure functions and frozen data; the time is an argument. `Forecaster` asks the store, once a second at most.
"""

from sigmafarm.forecast.forecast import Eta as Eta
from sigmafarm.forecast.forecast import Forecast as Forecast
from sigmafarm.forecast.forecaster import Forecaster as Forecaster
from sigmafarm.forecast.line import Turn as Turn
from sigmafarm.forecast.rates import Rate as Rate
from sigmafarm.forecast.rates import rate_of as rate_of
from sigmafarm.forecast.words import eta_words as eta_words
from sigmafarm.forecast.words import turn_words as turn_words
