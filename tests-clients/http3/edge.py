"""A running edge before a backend."""

import asyncio
import json
import os
import signal
import tempfile

from backend import Backend

CONFIG = """
edge: {{ region: local }}
threads: 2
listeners:
  - address: "127.0.0.1:0"
    protocols: [h1, h2, h3]
    tls: {{ certificates: [{{ cert: "{cert}", key: "{key}" }}] }}
admin: {{ address: "127.0.0.1:0" }}
policies: policies/
geo: {{ embedded: off }}
telemetry: {{ access_log: "{folder}/access.log" }}
limits: {limits}
timeouts: {timeouts}
"""

POLICIES = """
regions:
  - id: local
    endpoints: ["http://127.0.0.1:{port}"]
routes:
  - {{ id: denied, path: "/deny*", action: {{ deny: {{ status: 403 }} }} }}
  - {{ id: everything, path: "/*", websocket: on }}
residency: off
health_check: off
waf: {{ mode: off }}
"""


class Edge:
    """`async with Edge(limits=..., timeouts=...) as edge`."""

    def __init__(self, limits=None, timeouts=None):
        self.limits, self.timeouts = limits or {}, timeouts or {}

    async def __aenter__(self):
        self.backend = Backend()
        await self.backend.start()
        self.folder = tempfile.TemporaryDirectory()
        folder = self.folder.name
        os.mkdir(f"{folder}/policies")
        with open(f"{folder}/policies/policies.yaml", "w") as file:
            file.write(POLICIES.format(port=self.backend.port))
        with open(f"{folder}/meridian.yaml", "w") as file:
            values = {
                "cert": os.environ["TLS_CERT"],
                "key": os.environ["TLS_KEY"],
                "folder": folder,
                "limits": json.dumps(self.limits),
                "timeouts": json.dumps(self.timeouts),
            }
            file.write(CONFIG.format(**values))
        self.process = await asyncio.create_subprocess_exec(
            os.environ["MERIDIAN"],
            "run",
            "--config",
            f"{folder}/meridian.yaml",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self.log = []
        while True:
            line = (await asyncio.wait_for(self.process.stdout.readline(), 20)).decode()
            assert line, "\n".join(self.log)
            self.log.append(line)
            if "listening on" in line:
                self.port = int(json.loads(line)["message"].rsplit(":", 1)[1])
                break
        self.reading = asyncio.ensure_future(self.read_log())
        return self

    async def read_log(self):
        while line := await self.process.stdout.readline():
            self.log.append(line.decode())

    async def __aexit__(self, *error):
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self.reading
        self.backend.stop()
        text = "".join(self.log)
        self.folder.cleanup()
        assert "panicked" not in text, text

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.process.pid}/status") as file:
            line = next(line for line in file if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def processor_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            parts = file.read().rsplit(") ", 1)[1].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")

    async def access_log(self, lines):
        """Its entries, once there are so many."""
        while True:
            try:
                with open(f"{self.folder.name}/access.log") as file:
                    entries = [json.loads(line) for line in file if line.endswith("\n")]
            except FileNotFoundError:
                entries = []
            if len(entries) >= lines:
                return entries
            await asyncio.sleep(0.02)
