import t from 'tap';
import {
  canonicalHost,
  isListed,
  parseAuthority,
  parseHostRule,
  parseHostRules,
} from '../../src/sandbox/egress-rules.js';

t.test('a rule is host:port, with a wildcard for names below and for ports', async (t) => {
  t.same(parseHostRule('PyPI.org:443'), { host: 'pypi.org', below: false, port: 443 });
  t.same(parseHostRule('*.example.com:*'), { host: 'example.com', below: true, port: null });
  t.same(parseHostRule('[::1]:80'), { host: '::1', below: false, port: 80 });
  t.same(parseHostRule('bücher.example:80'), { host: 'xn--bcher-kva.example', below: false, port: 80 });
});

t.test('what is no rule is refused instead of matching something', async (t) => {
  for (const text of [
    ...[
      '',
      'example.com',
      '*:443',
      '*.:443',
      ':443',
      'example.com:0',
      'example.com:65536',
      'a:b:1',
      '*.1.2.3.4:80',
    ],
    ...[
      'ex*mple.com:443',
      'https://example.com:443',
      'user@example.com:443',
      'a b:1',
      'example.com/:1',
      '%65.com:1',
    ],
  ]) {
    t.equal(parseHostRule(text), null, text);
  }
  t.throws(() => parseHostRules(['ok.example:1', 'nonsense']), /nonsense/);
});

t.test('listing goes by whole labels and exact ports', async (t) => {
  const rules = parseHostRules(['pypi.org:443', '*.example.com:80', '127.0.0.1:*']);
  const listed = (host: string, port: number) => isListed(rules, { host, port });
  t.ok(listed('pypi.org', 443));
  t.ok(listed('a.b.example.com', 80));
  t.ok(listed('127.0.0.1', 9));
  t.notOk(listed('pypi.org', 80));
  t.notOk(listed('evil-pypi.org', 443));
  t.notOk(listed('pypi.org.evil.example', 443));
  t.notOk(listed('example.com', 80), 'the name itself is not below itself');
  t.notOk(listed('evilexample.com', 80));
});

t.test('every spelling of a host becomes one', async (t) => {
  for (const text of ['127.0.0.1', '2130706433', '0x7f000001', '0177.0.0.1', '127.1', '127.0.0.1.']) {
    t.equal(canonicalHost(text), '127.0.0.1', text);
  }
  t.equal(canonicalHost('EXAMPLE.com.'), 'example.com');
  t.equal(canonicalHost('[0:0::1]'), '::1');
  t.equal(canonicalHost('[::ffff:169.254.169.254]'), '::ffff:a9fe:a9fe');
  for (const text of ['', 'a/b', 'a@b', 'a:1', 'a b', '%31', '[::1', '[fe80::1%25eth0]', '1.2.3.4.5', '..']) {
    t.equal(canonicalHost(text), null, text);
  }
});

t.test('CONNECT names a host and a port and nothing else', async (t) => {
  t.same(parseAuthority('pypi.org:443'), { host: 'pypi.org', port: 443 });
  t.same(parseAuthority('[::1]:443'), { host: '::1', port: 443 });
  for (const text of [
    'pypi.org',
    'pypi.org:',
    'u@pypi.org:443',
    'pypi.org:443/x',
    'pypi.org:99999',
    '/x',
    '*:1',
  ]) {
    t.equal(parseAuthority(text), null, text);
  }
});
