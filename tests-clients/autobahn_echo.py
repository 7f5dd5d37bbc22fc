"""The suite's own echo server, on one address (Python 2.7; `wstest` listens on all).

    autobahn_echo.py ADDRESS PORT
"""

import sys

from autobahn.twisted.websocket import listenWS
from autobahntestsuite.testee import TesteeServerFactory
from twisted.internet import reactor

address, port = sys.argv[1], int(sys.argv[2])
listenWS(TesteeServerFactory("ws://%s:%d" % (address, port)), interface=address, backlog=128)
reactor.run()
