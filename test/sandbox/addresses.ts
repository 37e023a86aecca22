import t from 'tap';
import { type AddressKind, addressKind, canonicalAddress } from '../../src/sandbox/addresses.js';

const KINDS: Record<AddressKind, readonly string[]> = {
  public: ['1.1.1.1', '151.101.0.223', '172.15.0.1', '172.32.0.1', '2606:4700::1111', '64:ff9b::101:101'],
  private: [
    ...[
      '127.0.0.1',
      '127.255.255.254',
      '10.0.0.1',
      '172.16.0.1',
      '172.31.255.255',
      '192.168.1.1',
      '100.64.0.1',
    ],
    ...['::1', '0:0:0:0:0:0:0:1', 'fc00::1', 'fd12:3456::1'],
    ...[
      '::ffff:127.0.0.1',
      '::ffff:7f00:1',
      '0:0:0:0:0:ffff:10.0.0.1',
      '64:ff9b::127.0.0.1',
      '2002:7f00:1::',
    ],
  ],
  never: [
    ...[
      '0.0.0.0',
      '0.1.2.3',
      '169.254.169.254',
      '100.100.100.200',
      '168.63.129.16',
      '192.0.0.192',
      '224.0.0.1',
      '255.255.255.255',
    ],
    ...[
      '::',
      'fe80::1',
      'fe80::1%eth0',
      'ff02::1',
      'fd00:ec2::254',
      'fd00:ec2::253',
      'fd20:ce::254',
      'fd00:c1::a9fe:a9fe',
      'fd00:42::42',
      'fd00:a9fe:a9fe::1',
      '2001:db8::1',
      '2001::1',
      'fec0::1',
    ],
    ...[
      '::ffff:169.254.169.254',
      '::ffff:a9fe:a9fe',
      '::ffff:168.63.129.16',
      '64:ff9b::a9fe:a9fe',
      '2002:a9fe:a9fe::1',
    ],
    // IPv4-compatible, IPv4-translated and local NAT64: obsolete or not ours to understand.
    ...['::127.0.0.1', '::ffff:0:127.0.0.1', '64:ff9b:1::1'],
    ...['', 'localhost', '127.1', '2130706433', '0x7f000001', '127.0.0.1 ', '[::1]'],
  ],
};

for (const [kind, addresses] of Object.entries(KINDS)) {
  t.test(`these addresses are ${kind}`, async (t) => {
    for (const address of addresses) t.equal(addressKind(address), kind, JSON.stringify(address));
  });
}

t.test('one place has one spelling', async (t) => {
  t.equal(canonicalAddress('0:0:0:0:0:0:0:1'), '::1');
  t.equal(canonicalAddress('2606:4700:0000::0001'), '2606:4700::1');
  t.equal(canonicalAddress('::FFFF:7F00:1'), '127.0.0.1');
  t.equal(canonicalAddress('64:ff9b::10.0.0.1'), '10.0.0.1');
  t.equal(canonicalAddress('localhost'), null);
});
