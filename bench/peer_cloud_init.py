"""What lbhook does for the env file alone, by cloud-init's client of the metadata service and its
jinja renderer. Run by the interpreter of cloud-init. Used as: peer_cloud_init.py ENDPOINT FILE"""

import json
import sys
from pathlib import Path

from cloudinit import templater, url_helper, util

TEMPLATE = """## template: jinja
{% for rule in inboundRules %}
LB_INBOUND_{{ loop.index0 }}={{ rule.protocol | lower }},{{ rule.frontendIpAddress }},\
{{ rule.frontendPort }},{{ rule.privateIpAddress }},{{ rule.backendPort }}
{% endfor %}
LB_INBOUND_COUNT={{ inboundRules | length }}
"""

endpoint, file = sys.argv[1:]
url = f"{endpoint}/metadata/loadbalancer?api-version=2020-10-01"
answer = url_helper.readurl(url, headers={"Metadata": "true"}, timeout=2, retries=10)
lists = json.loads(answer.contents)["loadbalancer"]
text = templater.render_string(TEMPLATE, lists)
if not Path(file).exists() or Path(file).read_text(encoding="utf-8") != text:
    util.write_file(file, text)
