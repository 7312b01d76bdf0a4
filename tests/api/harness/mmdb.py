"""A small MaxMind DB file (format 2.0) from a table of networks and countries.

The tree is of IPv6 with 24-bit records; IPv4 networks lie under ::/96, where readers look for them.
"""

import ipaddress

RECORD_BITS = 24
MARKER = b"\xab\xcd\xefMaxMind.com"
STRING, UINT16, UINT32, MAP, UINT64, ARRAY = 2, 5, 6, 7, 9, 11


def head(kind, size):
    """The control bytes of a value; our values are all shorter than 285."""
    first = size if size < 29 else 29
    out = bytes([kind << 5 | first]) if kind < 8 else bytes([first, kind - 7])
    return out if size < 29 else out + bytes([size - 29])


def text(s):
    return head(STRING, len(s.encode())) + s.encode()


def number(kind, n):
    raw = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return head(kind, len(raw)) + raw


def mapping(pairs):
    return head(MAP, len(pairs)) + b"".join(text(k) + v for k, v in pairs.items())


def network_bits(cidr):
    """The bits of the prefix, from the top of the tree."""
    net = ipaddress.ip_network(cidr)
    value, length = int(net.network_address), net.prefixlen + (96 if net.version == 4 else 0)
    return [value >> (127 - i) & 1 for i in range(length)]


def plant(networks):
    """Nodes as [left, right]; a child is None, the index of a node or ("leaf", country)."""
    nodes = [[None, None]]
    for cidr, country in networks.items():
        bits, at = network_bits(cidr), 0
        for bit in bits[:-1]:
            if nodes[at][bit] is None:
                nodes.append([None, None])
                nodes[at][bit] = len(nodes) - 1
            at = nodes[at][bit]
        nodes[at][bits[-1]] = ("leaf", country)
    return nodes


def write(path, networks, part="country"):
    """networks: {"192.0.2.0/24": "DE", "2001:db8::/32": "FR"}; they must not overlap."""
    nodes = plant(networks)
    data, offsets = b"", {}
    for country in sorted(set(networks.values())):
        offsets[country] = len(data)
        data += mapping({part: mapping({"iso_code": text(country)})})

    def record(child):
        if child is None:
            return len(nodes)
        if isinstance(child, tuple):
            return len(nodes) + 16 + offsets[child[1]]
        return child
    tree = b"".join(record(child).to_bytes(RECORD_BITS // 8, "big")
                    for node in nodes for child in node)
    metadata = mapping({
        "node_count": number(UINT32, len(nodes)), "record_size": number(UINT16, RECORD_BITS),
        "ip_version": number(UINT16, 6), "database_type": text("Test-Country"),
        "languages": head(ARRAY, 0), "binary_format_major_version": number(UINT16, 2),
        "binary_format_minor_version": number(UINT16, 0), "build_epoch": number(UINT64, 1700000000),
        "description": mapping({}),
    })
    with open(path, "wb") as f:
        f.write(tree + bytes(16) + data + MARKER + metadata)
