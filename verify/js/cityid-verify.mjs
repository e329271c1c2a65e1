// cityid-verify: judges bundles, certificates and source marks. SPDX-License-Identifier: Apache-2.0

// This module comes to the same verdicts as the Go packages verify and label,
// whose comments specify what it does; docs/formats.md has every format. It
// imports nothing, asks no network and keeps no state. Of the browser it uses
// crypto.subtle (SHA-256, SHA-512, ECDSA P-256), BigInt and TextDecoder.
//
// Ed25519 is computed here and not by WebCrypto: validators' votes are judged
// by ZIP 215, which accepts contrived signatures that some browsers refuse, and
// all verifiers must agree.
//
// Conventions: decoded values have the form they have in the registry's JSON
// (digests in hexadecimal, keys as "ed25519:...", times as RFC 3339, numbers
// above 2^53 as BigInt). Hashes and encodings are Uint8Array; keys of the state
// tree are strings of octets, so that their order is that of their octets.
// Points in time are BigInt nanoseconds since 1970.
//
// The served form leaves out comments, blank lines and indentation, line by
// line. So there are no block comments here, and no text runs over a line's end.

const LIMITS = {
  bundle: 8 << 20, link: 4 << 20, trustFile: 1 << 20, record: 16 << 10,
  versions: 64, signatures: 64, transitions: 64, steps: 8, entries: 64, authority: 64,
  trustValidators: 100, trustPower: 1000000, members: 16, keys: 16, policyDepth: 3,
  validators: 128, totalPower: (2n ** 63n - 1n) / 8n, parts: 1601n,
  key: 255, branchBit: 2040, log: 64,
};
const MAX_INT64 = 2n ** 63n - 1n;
const MAX_TIME = 253402300799;
const SECOND = 1000000000n;
const CLOCK_TOLERANCE = 20n * SECOND;

// ---------------------------------------------------------------- findings

// A Finding is why something is not valid; it is thrown.
class Finding extends Error {
  constructor(verdict, reason, message) {
    super(message);
    this.verdict = verdict;
    this.reason = reason;
  }
}
const invalid = (reason, message) => new Finding('invalid', reason, message);
const undecided = (reason, message) => new Finding('undecided', reason, message);

// demand throws a finding unless a condition holds.
function demand(condition, reason, message) {
  if (!condition) throw invalid(reason, message);
}

// ---------------------------------------------------------------- octets

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const utf8 = (text) => encoder.encode(text);
const octets = (string) => Uint8Array.from(string, (c) => c.charCodeAt(0));
const string = (bytes) => bytes.reduce((s, b) => s + String.fromCharCode(b), '');
const hex = (bytes) => bytes.reduce((s, b) => s + b.toString(16).padStart(2, '0'), '');
const unhex = (text) => Uint8Array.from(text.match(/../g) || [], (h) => parseInt(h, 16));
const number = (bytes) => BigInt('0x0' + hex(bytes));
const isZero = (bytes) => bytes.every((b) => b === 0);
const same = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);

// concat joins arrays of octets, of either kind.
function concat(...parts) {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

const toBase64 = (bytes) => btoa(string(bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

// fromBase64 reads base64url without padding, in its one spelling.
function fromBase64(text) {
  demand(/^[\w-]*$/.test(text) && text.length % 4 !== 1, 'malformed', 'not base64url without padding');
  const bytes = octets(atob(text.replaceAll('-', '+').replaceAll('_', '/')));
  demand(toBase64(bytes) === text, 'malformed', 'not base64url in its one spelling');
  return bytes;
}

const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest('SHA-256', concat(...parts)));
const sha512 = async (...parts) => new Uint8Array(await crypto.subtle.digest('SHA-512', concat(...parts)));

// uint writes a number as n octets, the highest first.
function uint(value, n) {
  return Uint8Array.from({ length: n }, (_, i) => Number(BigInt(value) >> BigInt(8 * (n - 1 - i)) & 255n));
}

// uvarint writes a number as unsigned LEB128.
function uvarint(value) {
  const out = [];
  let v = BigInt(value);
  for (; v >= 128n; v >>= 7n) out.push(Number(v & 127n) | 128);
  out.push(Number(v));
  return out;
}

// ---------------------------------------------------------------- time

// nanoseconds reads a Date, milliseconds since 1970, or RFC 3339 text.
function nanoseconds(time) {
  if (typeof time === 'bigint') return time;
  if (typeof time !== 'string') return BigInt(Math.floor(Number(time))) * 1000000n;
  const m = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(time);
  const ms = m ? Date.parse(m[1] + m[3]) : NaN;
  if (Number.isNaN(ms)) throw new Error('not a time in RFC 3339: ' + time.slice(0, 40));
  return BigInt(ms) * 1000000n + BigInt((m[2] || '0').padEnd(9, '0'));
}

// secondsOf splits off whole seconds, rounding down.
const secondsOf = (ns) => (ns - ((ns % SECOND) + SECOND) % SECOND) / SECOND;

// stamp writes a time as RFC 3339 in UTC, by default in whole seconds.
function stamp(ns, exact) {
  const seconds = secondsOf(ns);
  const text = new Date(Number(seconds) * 1000);
  if (Number.isNaN(text.getTime())) return seconds + ' s';
  const fraction = exact ? String(ns - seconds * SECOND).padStart(9, '0').replace(/0+$/, '') : '';
  return text.toISOString().slice(0, -5) + (fraction && '.' + fraction) + 'Z';
}

// timeText and timeOf convert times of records, in whole seconds, to JSON and
// back. What is outside the years 1970 to 9999 is "@" and the number.
function timeText(seconds) {
  if (seconds === 0) return '';
  return seconds > 0 && seconds <= MAX_TIME ? stamp(BigInt(seconds) * SECOND) : '@' + seconds;
}

function timeOf(text) {
  if (!text) return 0;
  const seconds = /^@-?\d+$/.test(text) ? Number(text.slice(1)) : /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(text) ? Date.parse(text) / 1000 : NaN;
  demand(!Number.isNaN(seconds), 'malformed', 'not a time in whole seconds, UTC: ' + text);
  return seconds;
}

const nanosOf = (text) => BigInt(timeOf(text)) * SECOND;

// ---------------------------------------------------------------- codes

const ROOT = '[A-Z0-9]{1,3}(?:\\.[0-9]{3}(?:\\.[A-Z0-9]{1,12}(?:\\.[A-Z0-9]{1,16}){0,5})?)?';
const CLASS = '[0-9]{2,3}\\.[0-9]{6,8}(?:\\.[A-Z0-9][A-Z0-9-]{0,19})?';
const ITEM = '[A-Z0-9]{1,25}' + 'LMDVE'.replace(/./g, '(?:\\.$&[A-Z0-9]{1,20})?');
const CODE = new RegExp('^' + ROOT + '(?:/' + CLASS + '(?:/' + ITEM + ')?)?$');

const isCode = (text) => text.length <= 120 && CODE.test(text) && !text.endsWith('\n');

// parentOf returns the longest code that a code extends, or ''.
function parentOf(code) {
  for (let n = code.length - 1; n > 0; n--) {
    if ('./'.includes(code[n]) && isCode(code.slice(0, n))) return code.slice(0, n);
  }
  return '';
}

// covers reports whether a code is a strict descendant of another one.
const covers = (code, other) => code !== '' && (other.startsWith(code + '.') || other.startsWith(code + '/'));

// placeCovers reports whether a place's number begins another one's, as that of
// the province 13 begins that of the city 1301.
function placeCovers(code, other) {
  const place = /^[A-Z0-9]+\.[0-9]+\.[A-Z0-9]+$/;
  return place.test(code) && place.test(other) && other.length > code.length && other.startsWith(code);
}

// checkCharacters returns the two characters that people write after "*".
export function checkCharacters(code) {
  const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-';
  const derived = code.split('/').map((part) => part.split('.').map((node) => digits[node.length] + node).join('') + '0').join('');
  let sum = 0;
  for (const c of derived) sum = (sum * 36 + digits.indexOf(c)) % 1271;
  const check = (1272 - sum * 1296 % 1271) % 1271;
  return digits[Math.floor(check / 36)] + digits[check % 36];
}

// parseCode reads a code as people type it: in either case, in full-width
// characters, with a "/" at its end, with check characters. It returns the
// canonical form and throws an Error otherwise.
export function parseCode(input) {
  const no = () => new Error('not a code: ' + input.slice(0, 120));
  if (utf8(input).length > 480) throw no();
  const folded = Array.from(input, (c) => {
    let n = c.codePointAt(0);
    const wide = n >= 0xff01 && n <= 0xff5e;
    if (wide) n -= 0xff01 - 0x21;
    const ascii = String.fromCharCode(n);
    if (n > 127 || wide && !/[A-Za-z0-9.*/-]/.test(ascii)) return '?';
    return /[a-z]/.test(ascii) ? ascii.toUpperCase() : ascii;
  }).join('').replace(/\/$/, '');
  const star = folded.indexOf('*');
  const code = star < 0 ? folded : folded.slice(0, star);
  if (!isCode(code) || star >= 0 && folded.slice(star + 1) !== checkCharacters(code)) throw no();
  return code;
}

// ---------------------------------------------------------------- CBOR

// A Reader reads one value in core deterministic encoding and throws at every
// departure from it.
class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
    this.depth = 0;
  }

  need(condition) {
    demand(condition, 'malformed', 'not the canonical encoding, at octet ' + this.at);
  }

  take(n) {
    this.need(n <= this.bytes.length - this.at);
    this.at += n;
    return this.bytes.subarray(this.at - n, this.at);
  }

  // head reads the head of a value of one of the given major types.
  head(...majors) {
    const first = this.take(1)[0];
    const info = first & 31;
    this.major = first >> 5;
    this.need(majors.includes(this.major) && info < 28);
    if (info < 24) return info;
    const n = 1 << (info - 24);
    const value = number(this.take(n));
    this.need(value >= (n === 1 ? 24n : 1n << BigInt(4 * n)));
    return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
  }

  // open reads the head of an array or map.
  open(major) {
    const n = this.head(major);
    this.need(n <= 131072 && ++this.depth <= 24);
    return n;
  }
}

// write returns the head of a value.
function writeHead(major, value) {
  if (value < 24) return [major << 5 | Number(value)];
  const size = value < 256 ? 0 : value < 65536 ? 1 : value < 2 ** 32 ? 2 : 3;
  return [major << 5 | 24 + size, ...uint(value, 1 << size)];
}

// need checks a value that is to be encoded.
function need(condition, what) {
  demand(condition, 'malformed', 'not ' + what);
}

// A type reads its values from a Reader and appends their encodings to a list
// of arrays. Types of records can be read alone: nobody writes records here.
const integer = (low, high) => ({
  read(r) {
    const n = r.head(0, 1);
    const value = r.major === 0 ? n : typeof n === 'bigint' ? -1n - n : -1 - n;
    r.need(value >= low && value <= high);
    return value;
  },
  write(v, out) {
    need((Number.isSafeInteger(v) || typeof v === 'bigint') && v >= low && v <= high, 'a number in its range');
    out.push(v >= 0 ? writeHead(0, v) : writeHead(1, -1n - BigInt(v)));
  },
});
const U8 = integer(0, 255);
const U32 = integer(0, 2 ** 32 - 1);
const U64 = integer(0, 2n ** 64n - 1n);
const I32 = integer(-(2 ** 31), 2 ** 31 - 1);
const I64 = integer(-(2n ** 63n), MAX_INT64);

const BOOL = {
  read(r) {
    const v = r.head(7);
    r.need(v === 20 || v === 21);
    return v === 21;
  },
};
const BYTES = {
  read: (r) => r.take(r.head(2)),
  write: (v, out) => out.push(writeHead(2, v.length), v),
};
const TEXT = {
  read(r) {
    const bytes = r.take(r.head(3));
    try {
      return decoder.decode(bytes);
    } catch {
      throw invalid('malformed', 'text is not UTF-8');
    }
  },
  write(v, out) {
    need(typeof v === 'string', 'text');
    const bytes = utf8(v);
    out.push(writeHead(3, bytes.length), bytes);
  },
};

// converted is a type whose values have another form in JSON: from gives that
// form and throws if there is none, to is its inverse.
const converted = (type, from, to) => ({
  read: (r) => from(type.read(r), r),
  write: (v, out) => type.write(to(v), out),
});

const BASE64 = converted(BYTES, toBase64, fromBase64);
const code = (v) => {
  need(typeof v === 'string' && (v === '' || isCode(v)), 'a code');
  return v;
};
const CODE_TEXT = converted(TEXT, code, code);
const fixed = (n) => converted(BYTES, (v, r) => {
  r.need(v.length === n);
  return isZero(v) ? '' : hex(v);
}, (v) => {
  need(typeof v === 'string' && (v === '' || v.length === 2 * n && /^[0-9a-f]+$/.test(v)), 'hexadecimal');
  return v ? unhex(v) : new Uint8Array(n);
});
const DIGEST = fixed(32);
const TAG = fixed(8);
const isTime = (text) => timeOf(text) >= 0 && timeOf(text) <= MAX_TIME;
const TIME = converted(I64, timeText, (v) => {
  need(typeof v === 'string', 'a time');
  return timeOf(v);
});

const ALGORITHMS = ['', 'ed25519', 'p256', 'webauthn-p256', 'x25519', 'sm2'];
const algorithmOf = (key) => key.slice(0, key.indexOf(':'));

// keyOctets returns the encoded form of a key given as text.
function keyOctets(text) {
  const number = typeof text === 'string' && text.includes(':') ? ALGORITHMS.indexOf(algorithmOf(text)) : 0;
  need(number > 0, 'a public key');
  return concat([number], fromBase64(text.slice(text.indexOf(':') + 1)));
}

// Keys of unknown algorithms are read, as they may stand in a quorum, but never
// match a signature.
const KEY = converted(BYTES, (v, r) => {
  r.need(v.length >= 2 && v.length <= 1024);
  return (ALGORITHMS[v[0]] || 'algorithm-' + v[0]) + ':' + toBase64(v.subarray(1));
}, keyOctets);

const named = (names) => ({ read: (r) => nameOf(names, U8.read(r)) });
const nameOf = (names, n) => names[n] ?? 'number-' + n;

const KINDS = ['', 'authority', 'province', 'city', 'county', 'department', 'industry', 'organisation', 'class', 'object', 'dataset', 'source'];
const STATUSES = ['', 'reserved', 'active', 'suspended', 'retired'];
const REASONS = ['', 'merged', 'split', 'boundary-change', 'closed', 'removed', 'replaced', 'allocated-in-error', 'misuse', 'dispute', 'key-loss', 'resolved', 'commissioned'];
const ANSWERS = ['', 'record', 'children', 'descendants', 'history', 'entries', 'referral'];
const CLASSES = ['', 'open', 'conditional', 'closed'];
const ROLES = ['control', 'assert', 'gateway', 'field', 'intake', 'encrypt'];
const ROLE_SET = { read: (r) => ((v) => ROLES.filter((_, i) => v >> i & 1).join(',') || (v ? 'unknown' : ''))(U8.read(r)) };

const list = (type) => ({
  read(r) {
    const out = [];
    for (let n = r.open(4); n > 0; n--) out.push(type.read(r));
    r.depth--;
    return out;
  },
  write(v, out) {
    need(Array.isArray(v), 'a list');
    out.push(writeHead(4, v.length));
    for (const x of v) type.write(x, out);
  },
});

// tuple is a struct that is encoded as an array.
const tuple = (fields) => ({
  read(r) {
    r.need(r.open(4) === Object.keys(fields).length);
    const out = {};
    for (const name in fields) out[name] = fields[name].read(r);
    r.depth--;
    return out;
  },
  write(v, out) {
    out.push(writeHead(4, Object.keys(fields).length));
    for (const name in fields) fields[name].write(v[name], out);
  },
});

const isEmpty = (v) => v === undefined || v === false || v === '' || v === 0 || v.length === 0 || typeof v === 'object' && Object.keys(v).length === 0;

// struct is a map of fields numbered from 1 in the order given. A field whose
// name ends in "?" is left out exactly if it is empty.
function struct(spec) {
  const fields = Object.entries(spec).map(([name, type]) => ({ name: name.replace('?', ''), type, optional: name.endsWith('?') }));
  return {
    read(r) {
      const out = {};
      let left = r.open(5);
      fields.forEach((f, i) => {
        if (left > 0 && r.bytes[r.at] === i + 1) {
          r.at++;
          left--;
          out[f.name] = f.type.read(r);
          r.need(!f.optional || !isEmpty(out[f.name]));
        } else {
          r.need(f.optional);
        }
      });
      r.need(left === 0);
      r.depth--;
      return out;
    },
    write(v, out) {
      need(v && typeof v === 'object' && Object.keys(v).every((name) => fields.some((f) => f.name === name)), 'an object of known fields');
      const given = fields.filter((f) => !f.optional || !isEmpty(v[f.name]));
      out.push(writeHead(5, given.length));
      for (const f of given) {
        out.push([fields.indexOf(f) + 1]);
        f.type.write(v[f.name], out);
      }
    },
  };
}

// encodings remembers the octets of trust statements, over which hashes go.
const encodings = new WeakMap();
const remembered = (type) => ({
  read(r) {
    const from = r.at;
    const v = type.read(r);
    encodings.set(v, r.bytes.subarray(from, r.at));
    return v;
  },
  write: (v, out) => out.push(encodings.get(v) || encode(type, v)),
});

function encode(type, value) {
  const out = [];
  type.write(value, out);
  return concat(...out);
}

function decode(type, bytes) {
  const r = new Reader(bytes);
  const value = type.read(r);
  r.need(r.at === bytes.length);
  return value;
}

// ---------------------------------------------------------------- types

const QUORUM = struct({
  threshold: U8,
  members: list(struct({
    'code?': CODE_TEXT,
    'keys?': list(KEY),
    'quorum?': { read: (r) => QUORUM.read(r), write: (v, out) => QUORUM.write(v, out) },
  })),
});
const STATEMENT = struct({
  version: U32, zone: CODE_TEXT, chain: TEXT, height: U64, 'header?': DIGEST, time: TIME,
  validators: list(struct({ key: KEY, power: I64 })), quorum: QUORUM, 'prev?': DIGEST,
});
const SIGNATURE = struct({ key: KEY, signature: BASE64 });
const TRUST = struct({ statement: remembered(STATEMENT), 'signatures?': list(SIGNATURE) });

const LIGHT_BLOCK = struct({ header: BYTES, 'validators?': BYTES, commit: BYTES });
const LOG_LINK = struct({ header: BYTES, validators: DIGEST, first: U64, size: U64, path: BYTES, proof: BYTES });
const LOG_DESCENT = struct({ 'first?': U64, 'size?': U64, proof: BYTES, 'path?': BYTES, 'root?': DIGEST });
const STEP = struct({
  'transitions?': list(LIGHT_BLOCK), head: LIGHT_BLOCK, 'log?': LOG_LINK, proof: BYTES,
  'validators?': BYTES, 'descent?': LOG_DESCENT, 'values?': list(BYTES), 'authority?': list(tuple({ proof: BYTES, value: BYTES })),
});
const BUNDLE = struct({
  version: U32, kind: U8, code: CODE_TEXT, trust: TAG, 'versions?': list(TRUST), steps: list(STEP), 'values?': list(BYTES), 'keys?': list(BYTES),
});
const LINK = struct({
  version: U32, trust: DIGEST, 'versions?': list(TRUST), 'transitions?': list(LIGHT_BLOCK), head: LIGHT_BLOCK, log: LOG_LINK, state: DIGEST,
});
const BLOCK_LOG = struct({ first: U64, size: U64, root: DIGEST });

const CHANGE = tuple({ chain: TEXT, height: U64, time: TIME });
const ZONE = struct({
  chain: TEXT, 'places?': BOOL,
  checkpoint: struct({ height: U64, time: TIME, 'header?': DIGEST, next_validators: DIGEST, 'validators?': DIGEST, log: BLOCK_LOG }),
  accepted: CHANGE, anchored: TIME, anchors: U32,
  'fork?': struct({ height: U64, headers: converted(tuple([DIGEST, DIGEST]), Object.values), reported: CHANGE }),
});

const POLICY = struct({
  threshold: U8,
  members: list(struct({
    'keys?': list(struct({ public: KEY, roles: ROLE_SET, 'from?': TIME, 'until?': TIME, 'compromised?': TIME })),
    'code?': CODE_TEXT,
  })),
});
const NAME = tuple({ lang: TEXT, text: TEXT });
const NAMES = converted(list(NAME), (v) => Object.fromEntries(v.map((n) => [n.lang, n.text])));
const LOCATION = converted(tuple({ lat: I32, lon: I32 }), (v) => ({ lat: v.lat / 1e7, lon: v.lon / 1e7 }));
const RECORD = struct({
  code: CODE_TEXT, 'parent?': CODE_TEXT, kind: named(KINDS), status: named(STATUSES), revision: U32, 'prev?': DIGEST,
  changed: CHANGE,
  'content?': struct({
    'names?': NAMES,
    'links?': list(struct({ rel: TEXT, href: TEXT, 'type?': TEXT, 'hreflang?': list(TEXT), 'title?': TEXT })),
    'hosts?': list(TEXT),
    'location?': LOCATION,
    'documents?': list(struct({ label: TEXT, digest: DIGEST })),
    'dataset?': struct({ class: named(CLASSES), document: DIGEST, 'schema?': DIGEST, 'policy?': DIGEST }),
  }),
  'sealed?': DIGEST,
  'aliases?': list(struct({ scheme: TEXT, value: TEXT, 'from?': TIME, 'until?': TIME })),
  'policy?': POLICY, 'policy_since?': TIME, 'recovery?': POLICY, 'reason?': named(REASONS), 'note?': TEXT,
  'heir?': CODE_TEXT, 'successors?': list(CODE_TEXT),
  'delegation?': struct({ chain: TEXT, genesis: DIGEST, 'places?': BOOL, 'endpoints?': list(TEXT) }),
});

// ---------------------------------------------------------------- Ed25519

const P = 2n ** 255n - 19n;
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;
const ROOT_OF_MINUS_ONE = 19681161376707505956807079304988542015446066515923890162744021073123829784752n;

const mod = (a, m) => ((a % m) + m) % m;

// power computes base^exponent, four bits at a time.
function power(base, exponent, modulus) {
  const powers = [1n];
  while (powers.length < 16) powers.push(powers.at(-1) * base % modulus);
  let out = 1n;
  for (const digit of exponent.toString(16)) {
    for (let i = 0; i < 4; i++) out = out * out % modulus;
    out = out * powers[parseInt(digit, 16)] % modulus;
  }
  return out;
}

// Points are [X, Y, Z, T] with x = X/Z, y = Y/Z, xy = T/Z. To be added to
// others, a point is prepared: [Y - X, Y + X, 2Z, 2dT].
const prepared = ([x, y, z, t]) => [y - x, y + x, 2n * z, 2n * D * t % P];

function addPoints(p, q) {
  const a = (p[1] - p[0]) * q[0] % P;
  const b = (p[1] + p[0]) * q[1] % P;
  const c = p[3] * q[3] % P;
  const d = p[2] * q[2] % P;
  const e = b - a;
  const f = d - c;
  const g = d + c;
  const h = b + a;
  return [e * f % P, g * h % P, f * g % P, e * h % P];
}

function doublePoint(p) {
  const x = p[0];
  const y = p[1];
  const a = x * x % P;
  const b = y * y % P;
  const h = a + b;
  const e = 2n * x * y % P;
  const g = b - a;
  const f = g - 2n * p[2] * p[2] % P;
  return [e * f % P, -g * h % P, f * g % P, -e * h % P];
}

const negative = ([x, y, z, t]) => [-x, y, z, -t];
const reversed = (bytes) => number(Uint8Array.from(bytes).reverse());

// decodePoint accepts every encoding that ZIP 215 does: y need not be below P,
// and zero may have a sign. It returns null if there is no such point.
function decodePoint(bytes) {
  const n = reversed(bytes);
  const y = mod(n & (1n << 255n) - 1n, P);
  const u = mod(y * y - 1n, P);
  const v = mod(D * y * y + 1n, P);
  let x = u * v % P * v % P * v % P * power(u * v % P * v % P * v % P * v % P * v % P * v % P * v % P, (P - 5n) / 8n, P) % P;
  const square = v * x % P * x % P;
  if (square === mod(-u, P)) x = x * ROOT_OF_MINUS_ONE % P;
  else if (square !== u) return null;
  if ((x & 1n) !== n >> 255n) x = mod(-x, P);
  return [x, y, 1n, x * y % P];
}

const BASE = decodePoint(octets('X' + 'f'.repeat(31)));

const ZERO = [0n, 1n, 1n, 0n];

// multiples returns 0 to 15 times a point, prepared.
function multiples(point) {
  const one = prepared(point);
  const out = [ZERO];
  for (let i = 1; i < 16; i++) out.push(addPoints(out[i - 1], one));
  return out.map(prepared);
}
const baseMultiples = multiples(BASE);

// verifyEd25519 reports whether a signature by a bare key of 32 octets is good
// under ZIP 215: 8(sB - kA - R) = 0.
async function verifyEd25519(key, message, signature) {
  if (key.length !== 32 || signature.length !== 64) return false;
  const s = reversed(signature.subarray(32));
  const a = decodePoint(key);
  const r = decodePoint(signature.subarray(0, 32));
  if (s >= ORDER || !a || !r) return false;
  const k = reversed(await sha512(signature.subarray(0, 32), key, message)) % ORDER;
  const keyMultiples = multiples(negative(a));
  let sum = ZERO;
  for (let shift = 252n; shift >= 0n; shift -= 4n) {
    for (let i = 0; i < 4; i++) sum = doublePoint(sum);
    sum = addPoints(addPoints(sum, baseMultiples[s >> shift & 15n]), keyMultiples[k >> shift & 15n]);
  }
  sum = addPoints(sum, prepared(negative(r)));
  for (let i = 0; i < 3; i++) sum = doublePoint(sum);
  return mod(sum[0], P) === 0n && mod(sum[1] - sum[2], P) === 0n;
}

// ---------------------------------------------------------------- P-256 and passkeys

const P256 = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n;
const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const P256_B = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;

// verifyP256 judges a signature r || s with low s by a compressed point.
async function verifyP256(point, message, signature) {
  const x = number(point.subarray(1));
  const squared = mod(x * x % P256 * x - 3n * x + P256_B, P256);
  let y = power(squared, (P256 + 1n) / 4n, P256);
  if (point.length !== 33 || point[0] >> 1 !== 1 || x >= P256 || y * y % P256 !== squared) return false;
  if ((y & 1n) !== BigInt(point[0] & 1)) y = P256 - y;
  const r = number(signature.subarray(0, 32));
  const s = number(signature.subarray(32));
  if (signature.length !== 64 || r < 1n || r >= P256_ORDER || s < 1n || s > P256_ORDER / 2n) return false;
  const raw = concat([4], uint(x, 32), uint(y, 32));
  const key = await crypto.subtle.importKey('raw', raw, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['verify']);
  return crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, key, signature, message);
}

// cut splits octets after a field that begins with its length in n octets, or
// returns null.
function cut(bytes, n) {
  const end = n + Number(number(bytes.subarray(0, n)));
  return bytes.length < end ? null : [bytes.subarray(n, end), bytes.subarray(end)];
}

function isHostName(name) {
  const labels = name.split('.');
  return name.length <= 253 && labels.every((l) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(l) && !l.endsWith('\n')) && labels.at(-1) >= 'a';
}

// isBinding reports whether a passkey may have this RP id and origin.
function isBinding(rpID, origin) {
  const m = /^(https?):\/\/([^:]*)(?::([1-9][0-9]{0,4}))?$/.exec(origin);
  if (!m || origin.length > 512 || origin.endsWith('\n') || !isHostName(rpID) || !isHostName(m[2])) return false;
  const [, scheme, host, port] = m;
  if (scheme === 'http' && !('.' + host).endsWith('.localhost') || port > 65535 || port === (scheme === 'http' ? '80' : '443')) return false;
  return host === rpID || host.endsWith('.' + rpID) && rpID.includes('.');
}

// verifyWebAuthn judges an assertion by a key without its algorithm octet.
async function verifyWebAuthn(key, message, signature) {
  const point = key.subarray(0, 33);
  const id = key.length > 33 && cut(key.subarray(33), 1);
  const origin = id && id[1].length >= 2 && cut(id[1], 2);
  if (!origin || origin[1].length > 0 || !isBinding(string(id[0]), string(origin[0]))) return false;
  const auth = signature.length >= 2 && cut(signature, 2);
  const client = auth && auth[1].length >= 2 && cut(auth[1], 2);
  if (!client) return false;
  const [data, clientData, rs] = [auth[0], client[0], client[1]];
  if (data.length < 37 || data.length > 1024 || clientData.length > 2048 || rs.length !== 64) return false;
  const text = string(clientData);
  const start = '{"type":"webauthn.get","challenge":"' + toBase64(message) + '","origin":"' + string(origin[0]) + '","crossOrigin":false';
  const rest = text.slice(start.length);
  if (!text.startsWith(start) || rest !== '}' && !(rest.length >= 2 && rest.startsWith(',') && rest.endsWith('}'))) return false;
  const flags = data[32];
  if (!same(data.subarray(0, 32), await sha256(id[0])) || (flags & 0x45) !== 5 || flags >> 7 !== Number(data.length > 37)) return false;
  return verifyP256(point, concat(data, await sha256(clientData)), rs);
}

// verifySignature judges a signature by an encoded key of any algorithm.
async function verifySignature(key, message, signature) {
  const rule = [null, verifyEd25519, verifyP256, verifyWebAuthn][key[0]];
  return Boolean(rule) && rule(key.subarray(1), message, signature);
}

// ---------------------------------------------------------------- the state tree

const TREE = 'proof';
const LOG_KEY = 'clog\0';

const recordKey = (code) => 'r' + code + '\0';
const zoneKey = (code) => 'z' + code + '\0';

// KEY_TAILS are what follows the code in the keys that a bundle answers about:
// those of records, zones, revisions, attestations, agreements and anchors.
const KEY_TAILS = { r: /^$/, z: /^$/, h: /^[^]{4}\0$/, a: /^[^]{32}\0$/, g: /^[^]{32}\0$/, l: /^[a-z0-9-]{1,32}\0[^]{8}\0$/ };

// codeOfKey returns the code that such a key is about, else ''.
function codeOfKey(key) {
  const m = /^([rhaglz])([^\0]+)\0([^]*)$/.exec(key);
  return m && isTreeKey(key) && isCode(m[2]) && KEY_TAILS[m[1]].test(m[3]) ? m[2] : '';
}

const isTreeKey = (key) => key.length > 0 && key.length <= LIMITS.key && key.endsWith('\0');
const trimZeros = (key) => key.replace(/\0+$/, '');
const bitAt = (key, bit) => (key.charCodeAt(bit >> 3) || 0) >> (7 - bit % 8) & 1;
const leafHash = (key, value) => sha256([0], uvarint(key.length), octets(key), [32], value);
const innerHash = (bit, left, right) => sha256([1], uint(bit, 2), left, right);

// firstDifference returns the first bit in which two keys differ, or -1.
function firstDifference(a, b) {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const x = (a.charCodeAt(i) || 0) ^ (b.charCodeAt(i) || 0);
    if (x) return 8 * i + Math.clz32(x) - 24;
  }
  return -1;
}

// readProof decodes a proof about one key.
function readProof(bytes) {
  const want = (condition) => demand(condition, 'malformed', 'state or block log proof: bad encoding');
  want(bytes.length > 0 && bytes.length <= 1 + LIMITS.key + 32 + LIMITS.branchBit * 34);
  const n = bytes[0];
  const p = { other: null, steps: [] };
  let at = 1;
  if (n > 0) {
    want(bytes.length >= 1 + n + 32);
    p.other = { key: string(bytes.subarray(1, 1 + n)), value: bytes.subarray(1 + n, 33 + n) };
    want(isTreeKey(p.other.key));
    at += n + 32;
  }
  want((bytes.length - at) % 34 === 0);
  for (let floor = 0; at < bytes.length; at += 34) {
    const bit = bytes[at] << 8 | bytes[at + 1];
    want(bit >= floor && bit < LIMITS.branchBit);
    floor = bit + 1;
    p.steps.push({ bit, sibling: bytes.subarray(at + 2, at + 34) });
  }
  return p;
}

// proofRoot returns the root to which a proof leads that a key has a value, or,
// with value null, that there is no such key.
async function proofRoot(p, key, value) {
  demand((value === null) === (p.other !== null), TREE, 'the proof is one of ' + (p.other ? 'absence' : 'existence'));
  if (p.other) {
    demand(p.other.key !== key, TREE, 'the leaf reached is the key itself');
    demand(p.steps.every((s) => bitAt(key, s.bit) === bitAt(p.other.key, s.bit)), TREE, 'the leaf reached does not lie on the path of the key');
  }
  let hash = await (p.other ? leafHash(p.other.key, p.other.value) : leafHash(key, value));
  for (const s of p.steps.reverse()) {
    hash = await (bitAt(key, s.bit) ? innerHash(s.bit, s.sibling, hash) : innerHash(s.bit, hash, s.sibling));
  }
  return hash;
}

// excludes reports whether a proof that holds for one key of the tree also shows
// that another one is absent, which differs from it.
function excludes(p, key, other) {
  const bit = firstDifference(key, other);
  const end = p.other ? firstDifference(key, p.other.key) : bit + 1;
  return end < bit || end > bit && p.steps.every((s) => s.bit !== bit);
}

// entryRoot returns the root to which an encoded proof leads of what stands at a
// key: a value, or nothing if that has no octets.
async function entryRoot(key, value, proof) {
  return proofRoot(readProof(proof), key, value.length > 0 ? await sha256(value) : null);
}

// readRangeProof decodes a frontier: closed subtrees have no key.
function readRangeProof(bytes) {
  const want = (condition) => demand(condition, 'malformed', 'state proof: bad encoding of a listing');
  let at = 0;
  const take = (n) => {
    want(bytes.length - at >= n);
    at += n;
    return bytes.subarray(at - n, at);
  };
  const frontier = [];
  let last = null;
  while (at < bytes.length) {
    const kind = take(1)[0];
    want(kind <= 2);
    const f = { bit: 0, entry: kind === 2, key: null, hash: null };
    const before = frontier.at(-1);
    if (before && (kind === 0 || before.key === null)) f.bit = Number(number(take(2)));
    if (kind > 0) {
      const [shared, n] = take(2);
      f.key = (last || '').slice(0, shared) + string(take(n));
      want(shared <= (last || '').length && isTreeKey(f.key));
      want(f.key[shared] !== (last || '')[shared]);
      want(last === null || trimZeros(f.key) > trimZeros(last));
      if (before && before.key !== null) f.bit = firstDifference(before.key, f.key);
      last = f.key;
    }
    if (kind < 2) f.hash = take(32);
    frontier.push(f);
  }
  want(frontier.length > 0);
  return frontier;
}

// A Scope decides what a range lists and what a proof of it must close. Leaves
// must be shown to it in ascending order. Without an upper bound hi is null.
class Scope {
  constructor(lo, hi, shallow) {
    this.lo = trimZeros(lo);
    this.hi = hi === null ? null : trimZeros(hi);
    this.shallow = shallow;
    this.listed = new Set();
  }

  // lists reports whether a key belongs to the listing, and notes it if so.
  lists(key) {
    const k = trimZeros(key);
    if (k < this.lo || this.hi !== null && k >= this.hi || this.shallow && this.descends(key, 8 * key.length)) return false;
    if (this.shallow) this.listed.add(key.slice(0, -1));
    return true;
  }

  // descends reports whether all keys that begin with the first n bits of a
  // prefix are strict descendants of one key listed.
  descends(prefix, n) {
    for (let i = 0; 8 * i + 7 <= n; i++) {
      if ('./'.includes(prefix[i]) && this.listed.has(prefix.slice(0, i))) return true;
    }
    return false;
  }

  // mayClose reports whether the keys that agree with pin before a bit, and have
  // that bit equal to side, are known not to belong to the listing.
  mayClose(pin, bit, side) {
    const n = bit >> 3;
    const start = pin.slice(0, n).padEnd(n, '\0');
    const mask = 0xff >> bit % 8;
    const octet = (pin.charCodeAt(n) || 0) & ~mask | side << (7 - bit % 8);
    const low = start + String.fromCharCode(octet);
    const high = start + String.fromCharCode(octet | mask >> 1);
    return this.hi !== null && trimZeros(low) >= this.hi || high < this.lo.slice(0, n + 1) || this.shallow && this.descends(low, bit + 1);
  }
}

// rangeRoot returns the root to which the proof of a listing leads, and the keys
// it lists. values are the hashes of the values in order of their keys.
async function rangeRoot(frontier, scope, values) {
  const want = (condition, message) => demand(condition, TREE, 'state proof: ' + message);
  want(frontier.filter((f) => f.entry).length === values.length, 'it lists more or fewer entries than there are records');
  const keys = [];
  for (const f of frontier) {
    if (f.key === null) continue;
    want(f.entry === scope.lists(f.key), 'a key is not what it is said to be, an entry or a witness');
    if (f.entry) f.hash = values[keys.push(f.key) - 1];
  }
  const leaves = await Promise.all(frontier.map((f) => f.key === null ? f.hash : leafHash(f.key, f.hash)));
  // What is done lies left of what is to come; bits[i] parts done[i] and
  // done[i+1], and increases. A pin is the key of an open leaf in a subtree.
  const done = [];
  const bits = [];
  const fold = async (bit) => {
    while (bits.length > 0 && bits.at(-1) > bit) {
      const b = bits.pop();
      const right = done.pop();
      const left = done.pop();
      const pin = left.pin ?? right.pin;
      want(pin !== null, 'it opens an inner node but no leaf below');
      want((left.pin === null || bitAt(left.pin, b) === 0) && (right.pin === null || bitAt(right.pin, b) === 1), 'a key lies on the wrong side');
      want(left.pin === null || right.pin === null || firstDifference(left.pin, right.pin) === b, 'two keys do not part where they should');
      const closeRight = scope.mayClose(pin, b, 1);
      const closeLeft = scope.mayClose(pin, b, 0) && !closeRight;
      want(closeLeft === (left.pin === null) && closeRight === (right.pin === null), 'a subtree is closed but must be open, or the reverse');
      done.push({ pin, hash: await innerHash(b, left.hash, right.hash) });
    }
  };
  for (let i = 0; i < frontier.length; i++) {
    if (i > 0) {
      const bit = frontier[i].bit;
      await fold(bit);
      want(bit >= 0 && bit < LIMITS.branchBit && bits.at(-1) !== bit, 'branch bits do not increase');
      bits.push(bit);
    }
    done.push({ pin: frontier[i].key, hash: leaves[i] });
  }
  await fold(-1);
  want(done[0].pin !== null, 'it opens nothing');
  return { root: done[0].hash, keys };
}

// inclusionRoot returns the root of the log of a size in which a path shows that
// a leaf stands at an index (RFC 6962).
async function inclusionRoot(index, size, leaf, path) {
  demand(path.length <= 32 * LIMITS.log && path.length % 32 === 0, 'malformed', 'block log path: not a row of hashes');
  demand(index < size, TREE, 'block log path: no such leaf');
  const bits = (n) => n === 0n ? '' : n.toString(2);
  const inner = bits(index ^ size - 1n).length;
  const border = bits(index >> BigInt(inner)).replace(/0/g, '').length;
  demand(path.length === 32 * (inner + border), TREE, 'block log path: wrong length');
  let hash = leaf;
  for (let i = 0; i < inner + border; i++) {
    const sibling = path.subarray(32 * i, 32 * i + 32);
    hash = await (i < inner && (index >> BigInt(i) & 1n) === 0n ? sha256([1], hash, sibling) : sha256([1], sibling, hash));
  }
  return hash;
}

// ---------------------------------------------------------------- headers

const NO_HASH = new Uint8Array(32);
const EMPTY_HASH = unhex('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');

// treeHash returns the RFC 6962 tree hash of one leaf or more.
async function treeHash(leaves) {
  if (leaves.length === 1) return sha256([0], leaves[0]);
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return sha256([1], await treeHash(leaves.slice(0, split)), await treeHash(leaves.slice(split)));
}

// Protobuf: fields that are zero or empty are left out, but embedded messages
// are always there.
const protoUint = (field, v) => BigInt(v) === 0n ? [] : [field << 3, ...uvarint(BigInt.asUintN(64, BigInt(v)))];
const protoFixed = (field, v) => BigInt(v) === 0n ? [] : [field << 3 | 1, ...uint(v, 8).reverse()];
const protoBytes = (field, v) => concat([field << 3 | 2], uvarint(v.length), v);
const protoTime = (ns) => concat(protoUint(1, secondsOf(ns)), protoUint(2, ns - secondsOf(ns) * SECOND));
const protoBlockID = (id) => id === null ? [0x12, 0] :
  concat(protoBytes(1, id.hash), protoBytes(2, concat(protoUint(1, id.partsTotal), protoBytes(2, id.partsHash))));

// hashHeader returns the hash of a header, which names its block.
function hashHeader(h) {
  return treeHash([
    concat(protoUint(1, 11), protoUint(2, h.app)),
    protoBytes(1, utf8(h.chain)),
    protoUint(1, h.height),
    protoTime(h.time),
    protoBlockID(h.lastBlockID),
    ...[h.lastCommit, h.data, h.validators, h.nextValidators, h.consensus, h.appHash, h.lastResults, h.evidence, h.proposer].map((b) => protoBytes(1, b)),
  ]);
}

// signBytes returns what a validator signs who votes for a block at a time.
function signBytes(chain, height, commit, block, time) {
  const vote = concat([8, 2], protoFixed(2, height), protoFixed(3, commit.round),
    protoBytes(4, protoBlockID({ hash: block, partsTotal: commit.partsTotal, partsHash: commit.partsHash })),
    protoBytes(5, protoTime(time)), protoBytes(6, utf8(chain)));
  return concat(uvarint(vote.length), vote);
}

// Compact reads the compact encodings of headers, commits and validator sets.
class Compact {
  constructor(bytes, what) {
    this.bytes = bytes;
    this.at = 0;
    this.what = what;
  }

  want(condition, message) {
    demand(condition, 'malformed', this.what + ': ' + message);
  }

  take(n) {
    this.want(this.bytes.length - this.at >= n, 'cut short');
    this.at += n;
    return this.bytes.subarray(this.at - n, this.at);
  }

  // uvarint reads a number in its shortest form that is at most limit.
  uvarint(limit) {
    let v = 0n;
    for (let n = 0; ; n++) {
      const b = this.take(1)[0];
      this.want(n < 9 || n === 9 && b <= 1, 'number exceeds 64 bits');
      v |= BigInt(b & 127) << BigInt(7 * n);
      if (b < 128) {
        this.want(n === 0 || b > 0, 'number is not in its shortest form');
        this.want(v <= limit, 'number exceeds its limit');
        return v;
      }
    }
  }

  // time reads a time of the years 1 to 9999, which begin after 0001-01-01.
  time() {
    const zigzag = this.uvarint(2n ** 64n - 1n);
    const seconds = zigzag >> 1n ^ -(zigzag & 1n);
    const nanos = number(this.take(4));
    const ns = seconds * SECOND + nanos;
    this.want(nanos < SECOND && ns > -62135596800n * SECOND && seconds <= MAX_TIME, 'time is out of range');
    return ns;
  }

  hash() {
    return this.take(32);
  }

  // hashUnlessEmpty reads a hash if the flag is set, which is then not that of
  // the empty list.
  hashUnlessEmpty(flag) {
    if (!flag) return EMPTY_HASH;
    const h = this.hash();
    this.want(!same(h, EMPTY_HASH), 'hash of the empty list is written out');
    return h;
  }

  end() {
    this.want(this.at === this.bytes.length, 'octets follow');
  }
}

// readHeader decodes a stripped header of a chain. A header of a transition has
// its app hash, another one has not.
function readHeader(bytes, chain, withAppHash) {
  const r = new Compact(bytes, 'header');
  const flags = r.take(1)[0];
  r.want((flags & ~0x3d) === 0, 'unknown flags, or not stripped');
  const h = { chain, validators: NO_HASH, appHash: NO_HASH, lastBlockID: null };
  h.app = r.uvarint(2n ** 64n - 1n);
  h.height = r.uvarint(MAX_INT64);
  h.time = r.time();
  if (flags & 4) {
    h.lastBlockID = { hash: r.hash(), partsTotal: r.uvarint(LIMITS.parts), partsHash: r.hash() };
    r.want(!isZero(h.lastBlockID.hash) && !isZero(h.lastBlockID.partsHash) && h.lastBlockID.partsTotal > 0n, 'last block id is incomplete');
  }
  h.lastCommit = r.hash();
  h.data = r.hashUnlessEmpty(flags & 8);
  h.nextValidators = r.hash();
  h.consensus = r.hash();
  h.lastResults = r.hashUnlessEmpty(flags & 16);
  h.evidence = r.hashUnlessEmpty(flags & 32);
  h.proposer = r.take(20);
  if (flags & 1) {
    h.appHash = r.hash();
    r.want(!isZero(h.appHash), 'app hash is zero');
  }
  r.end();
  r.want(h.height >= 1n, 'height is below 1');
  r.want(Boolean(flags & 1) === withAppHash, 'the app hash belongs in the header of a transition and in no other');
  return h;
}

function readCommit(bytes) {
  const r = new Compact(bytes, 'commit');
  const c = { round: r.uvarint(2n ** 31n - 1n), partsTotal: r.uvarint(LIMITS.parts), partsHash: r.hash(), votes: [] };
  const n = r.uvarint(BigInt(LIMITS.validators));
  for (let next = 0; c.votes.length < n;) {
    const index = next + Number(r.uvarint(BigInt(LIMITS.validators)));
    c.votes.push({ index, time: r.time(), signature: r.take(64) });
    next = index + 1;
  }
  r.end();
  r.want(c.partsTotal > 0n && n > 0n && c.votes.at(-1).index < LIMITS.validators, 'no parts, no votes, or a vote of no validator');
  return c;
}

// validatorSet checks a list of keys and powers and adds what follows from it.
async function validatorSet(members, reason) {
  const want = (condition) => demand(condition, reason, 'validators: not a set in canonical order, of positive powers, within its bounds');
  want(members.length >= 1 && members.length <= LIMITS.validators);
  const set = { members, total: 0n };
  const seen = new Set();
  let before = null;
  for (const m of members) {
    m.address = hex((await sha256(m.key)).subarray(0, 20));
    set.total += m.power;
    want(m.power >= 1n && set.total <= LIMITS.totalPower && !seen.has(m.address));
    want(before === null || before.power > m.power || before.power === m.power && before.address < m.address);
    seen.add(m.address);
    before = m;
  }
  set.hash = await treeHash(members.map((m) => concat(protoBytes(1, protoBytes(1, m.key)), protoUint(2, m.power))));
  return set;
}

async function readValidators(bytes) {
  const r = new Compact(bytes, 'validators');
  const members = [];
  for (const n = r.uvarint(BigInt(LIMITS.validators)); members.length < n;) members.push({ key: r.hash(), power: r.uvarint(LIMITS.totalPower) });
  r.end();
  return validatorSet(members, 'malformed');
}

// verifyCommit checks that more than two thirds of a header's validators signed
// it, each vote being needed for that or, if a trusted set is given, for more
// than a third of its power. It reports whether these were reached.
async function verifyCommit(trusted, set, h, commit) {
  const want = (condition, message) => demand(condition, 'not-signed', 'header ' + h.height + ': ' + message);
  const powers = new Map((trusted ? trusted.members : []).map((m) => [m.address, m.power]));
  let power = 0n;
  let known = 0n;
  const enough = () => 3n * power > 2n * set.total;
  const connected = () => !trusted || 3n * known > trusted.total;
  for (const v of commit.votes) {
    const m = set.members[v.index];
    want(m, 'a vote is of no validator');
    const trustedPower = powers.get(m.address) || 0n;
    want(!enough() || trustedPower > 0n && !connected(), 'a vote is superfluous');
    power += m.power;
    known += trustedPower;
  }
  want(enough(), 'signed by a power of ' + power + ' of ' + set.total + ', not more than two thirds');
  const block = await hashHeader(h);
  for (const v of commit.votes) {
    const good = await verifyEd25519(set.members[v.index].key, signBytes(h.chain, h.height, commit, block, v.time), v.signature);
    want(good, 'wrong signature of validator ' + v.index);
  }
  return connected();
}

// ---------------------------------------------------------------- trust roots

async function hashOfStatement(s) {
  if (!encodings.has(s)) encodings.set(s, encode(STATEMENT, s));
  return hex(await sha256(encodings.get(s)));
}

function hasKey(quorum, key) {
  return quorum.members.some((m) => (m.keys || []).includes(key) || m.quorum && hasKey(m.quorum, key));
}

// relyingParty returns the RP id of a passkey, as octets, else ''.
function relyingParty(key) {
  if (algorithmOf(key) !== 'webauthn-p256') return '';
  const rest = string(keyOctets(key)).slice(34);
  const n = rest.charCodeAt(0);
  return rest.length < 1 + n || rest === '' ? '' : rest.slice(1, 1 + n);
}

// quorumMet returns the vote of a quorum that a set of keys meets, else null: the
// keys, and the RP id if they are all passkeys of that one.
function quorumMet(quorum, keys) {
  const votes = quorum.members.map((m) => memberMet(m, keys)).filter((v) => v !== null);
  if (votes.length === 0 || votes.length < quorum.threshold) return null;
  const sole = votes.every((v) => v.sole === votes[0].sole) ? votes[0].sole : '';
  if (quorum.threshold >= 2 && (sole !== '' || distinctVotes(votes) < quorum.threshold)) return null;
  return { keys: votes.flatMap((v) => v.keys), sole };
}

function memberMet(member, keys) {
  if (member.quorum) return quorumMet(member.quorum, keys);
  const signed = (member.keys || []).filter((k) => keys.has(k));
  if (signed.length === 0) return null;
  const parties = new Set(signed.map(relyingParty));
  return { keys: signed, sole: parties.size === 1 ? [...parties][0] : '' };
}

// distinctVotes returns how many votes can be backed by a key of their own: a
// largest matching, found by augmenting paths.
function distinctVotes(votes) {
  const backs = new Map();
  const back = (i, tried) => votes[i].keys.some((k) => {
    if (tried.has(k)) return false;
    tried.add(k);
    if (backs.has(k) && !back(backs.get(k), tried)) return false;
    backs.set(k, i);
    return true;
  });
  return votes.filter((_, i) => back(i, new Set())).length;
}

function quorumFits(q, depth) {
  const n = q.members.length;
  return depth <= LIMITS.policyDepth && n >= 1 && n <= LIMITS.members && q.threshold >= 1 && q.threshold <= n &&
    q.members.every((m) => m.quorum ? isEmpty(m.keys) && quorumFits(m.quorum, depth + 1) : (m.keys || []).length <= LIMITS.keys);
}

// trustedValidators returns the validators that a statement names, if it keeps
// within its bounds.
async function trustedValidators(s) {
  const want = (condition, message) => demand(condition, 'trust-root', 'trust root version ' + s.version + ': ' + message);
  want(s.version >= 1 && s.zone !== '' && /^[A-Za-z0-9.-]{1,50}$/.test(s.chain) && !s.chain.endsWith('\n') && s.time !== '' && isTime(s.time), 'version, zone, chain and time must be given');
  want((s.height === 0) === !s.header && (s.version === 1) === !s.prev, 'a height goes with a header, and a later version with the hash of the one before');
  want(s.validators.length <= LIMITS.trustValidators && s.height < MAX_INT64 && quorumFits(s.quorum, 0), 'validators, height or quorum are beyond their bounds');
  const members = s.validators.map((v) => {
    want(algorithmOf(v.key) === 'ed25519' && v.power >= 1 && v.power <= LIMITS.trustPower, 'a validator has an ed25519 key and a power');
    const key = keyOctets(v.key).subarray(1);
    want(key.length === 32, 'a validator has a key of 32 octets');
    return { key, power: BigInt(v.power) };
  });
  return validatorSet(members, 'trust-root');
}

// verifySuccessor checks that one version of the trust root follows another. In
// a bundle it has no more signatures than needed.
async function verifySuccessor(prev, next, minimal) {
  const [a, b] = [prev.statement, next.statement];
  const want = (condition, message) => demand(condition, 'trust-root', 'trust root version ' + b.version + ' ' + message);
  await trustedValidators(b);
  const follows = b.version === a.version + 1 && b.zone === a.zone && b.chain === a.chain && b.prev === await hashOfStatement(a) &&
    timeOf(b.time) >= timeOf(a.time) && b.height >= a.height;
  want(follows, 'does not follow version ' + a.version);
  const signatures = next.signatures || [];
  want(signatures.length <= LIMITS.signatures, 'has too many signatures');
  await hashOfStatement(b);
  const digest = await sha256(utf8('cityid/trust/1'), encodings.get(b));
  const signed = new Set();
  let last = '';
  for (const s of signatures) {
    want(hasKey(a.quorum, s.key) && ALGORITHMS.includes(algorithmOf(s.key)), 'is signed by a key that is not of the quorum, or can not sign');
    const key = keyOctets(s.key);
    want(string(key) > last, 'has signatures out of order');
    want(await verifySignature(key, digest, fromBase64(s.signature)), 'has a wrong signature');
    signed.add(s.key);
    last = string(key);
  }
  want(quorumMet(a.quorum, signed), 'is not signed by the quorum of the one before');
  if (!minimal) return;
  for (const s of signatures) {
    signed.delete(s.key);
    want(!quorumMet(a.quorum, signed), 'has superfluous signatures');
    signed.add(s.key);
  }
}

// parseTrust reads a trust file (trust.json), given as octets or text, and
// throws an Error unless it is one. In the result, version and hash are those of
// the latest version, pinned is the hash of the first: what people compare.
export async function parseTrust(file) {
  const bytes = typeof file === 'string' ? utf8(file) : new Uint8Array(file);
  demand(bytes.length <= LIMITS.trustFile, 'malformed', 'trust file: too large');
  const text = decoder.decode(bytes);
  const given = JSON.parse(text);
  need(given && Array.isArray(given.versions) && given.versions.length > 0, 'a trust file');
  const versions = given.versions.map((v) => decode(TRUST, encode(TRUST, v)));
  const pinned = await hashOfStatement(versions[0].statement);
  demand(pinned === given.pinned, 'trust-root', 'trust file: the version it pins has the hash ' + pinned + ': compare it with the hash your authority publishes');
  const compact = text.replace(/("(?:[^"\\]|\\.)*")|\s+/g, (_, kept) => kept || '');
  demand(compact === JSON.stringify({ pinned, versions }), 'malformed', 'trust file: fields are unknown, repeated, out of order or not in their one form');
  await trustedValidators(versions[0].statement);
  for (let i = 1; i < versions.length; i++) await verifySuccessor(versions[i - 1], versions[i], false);
  const { zone, chain, version, time } = versions.at(-1).statement;
  const out = { zone, chain, version, time, hash: await hashOfStatement(versions.at(-1).statement), pinned, versions };
  parsed.add(out);
  return out;
}

// parsed holds what parseTrust returned: versions that follow one another.
const parsed = new WeakSet();

// versionsOf returns the versions of whatever stands for a trust root: a trust
// file, what parseTrust returns, or one version in JSON.
async function versionsOf(trust) {
  if (parsed.has(trust)) return trust.versions;
  if (trust.statement) return [decode(TRUST, encode(TRUST, trust))];
  const { pinned, versions } = trust;
  return (await parseTrust(versions ? JSON.stringify({ pinned, versions }) : trust)).versions;
}

// tagOf returns the tag of a bundle that leads on from a version, of which the
// hash is given.
const tagOf = async (hash, b) => {
  const question = b.kind === 5 ? b.keys.flatMap((k) => [[k.length], k]) : [utf8(b.code)];
  return hex((await sha256(utf8('cityid/bundle/1'), unhex(hash), [b.kind], ...question)).subarray(0, 8));
};

// versionFor returns the version to judge a bundle by: the one it leads on from,
// else the latest.
async function versionFor(versions, b) {
  for (const v of versions) {
    if (b.versions ? b.versions[0].statement.version === v.statement.version + 1 : await tagOf(await hashOfStatement(v.statement), b) === (b.trust || '0'.repeat(16))) return v;
  }
  return versions.at(-1);
}

// ---------------------------------------------------------------- bundles

// laterVersion reports whether octets begin as those of a later format do.
const laterVersion = (b) => b.length > 2 && b[0] > 0xa0 && b[0] < 0xb8 && b[1] === 1 && b[2] > 1 && b[2] <= 0x1b;

function checkCarried(versions = []) {
  need(versions.length <= LIMITS.versions && versions.every((v) => (v.signatures || []).length <= LIMITS.signatures), 'within the bounds of carried trust root versions');
}

// leads reports whether a step leads to another zone.
const leads = (b, i) => i < b.steps.length - 1 || b.kind === 6;

// readBundle decodes a bundle and checks its bounds.
function readBundle(bytes) {
  need(bytes.length <= LIMITS.bundle, 'a bundle of at most 8 MiB');
  const unsupported = undecided('unsupported', 'the bundle is of a later version of the format');
  if (laterVersion(bytes)) throw unsupported;
  const b = decode(BUNDLE, bytes);
  if (b.version > 1) throw unsupported;
  need(b.version === 1 && b.code !== '' && b.kind >= 1 && b.kind <= 6, 'a bundle with version, kind and code');
  b.values = b.values || [];
  need(b.steps.length >= 1 && b.steps.length <= LIMITS.steps, 'a bundle of 1 to 8 steps');
  b.steps.forEach((s, i) => {
    const { transitions = [], values = [], authority = [] } = s;
    need(transitions.length <= LIMITS.transitions && authority.length <= LIMITS.authority, 'a step within its bounds');
    need(leads(b, i) ? values.length === 2 && authority.length === 0 : values.length === 0, 'a step with the record and zone to which it leads, if it leads to one');
    need(values.every((v) => v.length > 0 && v.length <= LIMITS.record), 'a value of 1 to 16384 octets');
  });
  need(b.kind !== 6 || b.values.length === 0, 'a referral without values of its own');
  checkCarried(b.versions);
  need(b.kind !== 1 || b.values.length <= 1, 'one record in answer to a question for one');
  need(b.values.every((v) => v.length <= LIMITS.record), 'a record of at most 16 KiB');
  checkKeys(b);
  return b;
}

// checkKeys keeps the keys of entries within their bounds.
function checkKeys(b) {
  b.keys = b.keys || [];
  b.names = b.keys.map(string);
  const n = b.keys.length;
  need(b.kind === 5 ? n >= 1 && n <= LIMITS.entries && b.values.length === n : n === 0, 'a bundle with a value for each key');
  const fits = (k, i) => codeOfKey(k) !== '' && (i === 0 ? codeOfKey(k) === b.code : b.names[i - 1] < k);
  need(b.names.every(fits), 'a bundle with keys in order');
}

function readRecord(bytes) {
  let r;
  try {
    r = decode(RECORD, bytes);
  } catch (f) {
    throw invalid('record', 'a record can not be decoded: ' + f.message);
  }
  const want = (condition, message) => demand(condition, 'record', message);
  want(r.code !== '' && KINDS.indexOf(r.kind) > 0 && STATUSES.indexOf(r.status) > 0, 'a record has no code, kind or status');
  want(r.revision >= 1 && (r.revision === 1) === !r.prev, 'a record must name the revision before, or be the first');
  want(isTime(r.changed.time), 'a record has an impossible time');
  return r;
}

// checkRevisions checks that records are revisions of one code, latest first.
function checkRevisions(b, records, hashes) {
  const want = (condition, message) => demand(condition, 'record', message + ' of ' + b.code);
  records.forEach((r, i) => {
    want(r.code === b.code, 'the record is not one');
    if (i === 0) return;
    const newer = records[i - 1];
    want(hex(hashes[i]) === newer.prev && r.revision === newer.revision - 1, 'a revision names another one before it than the one given, in the history');
    want(r.parent === newer.parent && r.changed.height <= newer.changed.height && timeOf(r.changed.time) <= timeOf(newer.changed.time), 'a revision has another parent than the one before, or is older, in the history');
  });
  want(b.kind !== 4 || records.at(-1).revision === 1, 'the first revision is missing in the history');
}

// readZone reads what a zone above knows of one below.
function readZone(bytes, apex) {
  try {
    return decode(ZONE, bytes);
  } catch (f) {
    throw invalid('record', 'the zone of ' + apex + ' can not be decoded: ' + f.message);
  }
}

// checkKnown bounds what is known of a zone.
function checkKnown(z, apex) {
  const want = (condition, message) => demand(condition, 'record', 'the zone of ' + apex + ': ' + message);
  const { height, time, header, next_validators: next, validators, log } = z.checkpoint;
  const [h, first, size] = [height, log.first, log.size].map(BigInt);
  want(timeOf(time) > 0 && isTime(time) && next && h <= MAX_INT64, 'checkpoint: a height, a time and the next validators must be given');
  want((h === 0n) === !header && (h === 0n) === !validators, 'checkpoint: a height goes with a header and its validators');
  want((size === 0n) === !log.root && (size === 0n) === (first === 0n), 'checkpoint: a block log has a first height, a size and a root, or none of them');
  want(size === 0n || first <= h && size <= h - first, 'checkpoint: the state before its height can not hold such a block log');
  want(timeOf(z.anchored) > 0 && isTime(z.anchored), 'an impossible time');
}

// inZone reports whether a code belongs to the zone of an apex: the apex itself,
// what lies below it and, with places, the places that continue it.
function inZone(apex, places, code) {
  if (apex === code || covers(apex, code)) return true;
  for (; places && code; code = parentOf(code)) if (placeCovers(apex, code)) return true;
  return false;
}

// delegators returns the codes below an apex that may have been delegated so that
// another zone answers about a code, from the longest to the shortest.
function delegators(apex, code) {
  const out = [];
  for (let c = code; c && c !== apex; c = parentOf(c)) {
    out.push(c);
    const place = /^[A-Z0-9]+\.[0-9]+\.(?=[A-Z0-9]+$)/.exec(c);
    for (let n = c.length - 1; place && n > place[0].length; n--) {
      if (c.slice(0, n) === apex) return out;
      out.push(c.slice(0, n));
    }
  }
  return out;
}

// askedCodes returns the codes that a bundle answers about, and unauthorized
// those of them about which it says something that a zone below might know
// better: all but what is there and is a record, a revision or a zone.
const askedCodes = (b) => [b.code, ...b.names.map(codeOfKey)];

function unauthorized(b) {
  if (b.kind === 5) return b.names.filter((k, i) => !('rhz'.includes(k[0]) && b.values[i].length > 0)).map(codeOfKey);
  return b.kind === 6 || (b.kind === 1 || b.kind === 4) && b.values.length > 0 ? [] : [b.code];
}

const plural = (n, what) => n === 1 ? '1 ' + what : n + ' ' + what + 's';

// A Checker is one judgement in progress. Each check returns what it found, or
// throws a Finding. After its checks the answer is in records, record, allocated.
class Checker {
  constructor(options) {
    this.options = options;
    this.checks = [];
    this.records = [];
    this.entries = [];
    this.zones = [];
    this.record = null;
    this.allocated = false;
    this.finding = null;
    this.validators = null;
  }

  // run makes one check after the other until one finds a contradiction, or the
  // next one has nothing to go on.
  async run(trust, bytes) {
    if (!await this.each([['form', () => this.form(trust, bytes), true], ['trust root', () => this.trustRoot()]])) return;
    const { steps } = this.bundle;
    for (this.number = 0; this.number < steps.length; this.number++) {
      const i = this.number;
      this.step = steps[i];
      this.next = null;
      if (i === 0) this.start();
      const list = [leads(this.bundle, i) ? ['delegation', () => this.delegation(), true] : ['proof', () => this.proof(), true]];
      if (i === 0) list.push(['trust root version', () => this.tag(), true]);
      if (!leads(this.bundle, i)) list.push(['authority', () => this.authority()]);
      list.push(['headers', () => this.headers(), true], ['signatures', () => this.signatures()]);
      if (i > 0) list.push(['descent', () => this.descent()]);
      list.push(['records', () => this.recordsOfChain()], ['zone', () => this.zone()], ['clock', () => this.clock()], ['trusting period', () => this.period()], ['freshness', () => this.freshness()]);
      if (!await this.each(list)) return;
      if (this.next) this.enter();
    }
  }

  // each makes checks in order and reports whether there is more to check.
  async each(list) {
    const zone = () => this.step && this.bundle.steps.length > 1 ? this.from.apex : '';
    for (const [name, check, must] of list) {
      try {
        this.checks.push({ zone: zone(), name, outcome: 'ok', detail: await check() });
      } catch (f) {
        if (!(f instanceof Finding)) throw f;
        this.checks.push({ zone: zone(), name, outcome: f.verdict === 'invalid' ? 'failed' : 'undecided', detail: f.message });
        if (f.verdict === 'invalid' || !this.finding) this.finding = f;
        if (f.verdict === 'invalid' || must) return false;
      }
    }
    return true;
  }

  // start begins with the first step. How far trust reaches is the header trusted
  // last and the set it names as the next, null if only the hash is known. The
  // first block has the genesis time itself, so height 0 is the moment before.
  start() {
    const { zone, chain, height, header, time, version } = this.base.statement;
    this.lead({ apex: zone, places: true, chain, height, header, time, name: 'version ' + version + ' of the trust root', what: 'version', point: null, set: this.validators, next: this.validators && this.validators.hash });
    this.zones = [{ zone, chain, asOf: null, record: null, known: null }];
  }

  // enter goes on to the zone that the step leads to.
  enter() {
    const { record, known } = this.next;
    const { height, header, time, next_validators: next } = known.checkpoint;
    const name = 'the checkpoint of ' + record.code + ' at height ' + height;
    this.lead({ apex: record.code, places: known.places, chain: known.chain, height, header, time, name, what: 'checkpoint', point: known.checkpoint, set: null, next: unhex(next) });
    this.zones.push({ zone: record.code, chain: known.chain, asOf: null, record, known });
  }

  lead(from) {
    this.from = { ...from, header: from.header || '', height: BigInt(from.height), time: nanosOf(from.time) };
  }

  async form(trust, bytes) {
    this.own = this.base = trust.at(-1);
    const b = this.bundle = readBundle(bytes);
    this.own = this.base = await versionFor(trust, b);
    const { code, kind, keys } = this.options;
    const about = 'the ' + ANSWERS[b.kind] + ' of ' + b.code;
    const alone = b.steps[0].validators || b.steps[0].descent;
    demand(!alone, 'malformed', 'the bundle leads on from a checkpoint that nothing in it shows: it belongs behind a referral');
    demand((!code || code === b.code) && (!kind || kind === ANSWERS[b.kind]), 'question', 'the bundle answers for ' + about + ', which was not asked');
    const asked = !keys || keys.length === b.keys.length && b.keys.every((k, i) => same(k, new Uint8Array(keys[i])));
    demand(asked, 'question', 'the bundle answers about other keys');
    return 'canonical encoding, ' + about;
  }

  // trustRoot applies the versions of the trust root that the bundle carries.
  async trustRoot() {
    const own = this.own.statement;
    await trustedValidators(own);
    const carried = this.bundle.versions || [];
    for (let i = 0; i < carried.length; i++) {
      const s = carried[i].statement;
      if (i > 0) await verifySuccessor(carried[i - 1], carried[i], true);
      else if (s.version === own.version + 1) await verifySuccessor(this.own, carried[i], true);
      else await trustedValidators(s);
      const known = s.version === own.version ? await hashOfStatement(own) : s.version + 1 === own.version ? own.prev : null;
      demand(known === null || known === await hashOfStatement(s), 'trust-root', 'version ' + s.version + ' of the trust root that the bundle carries contradicts the one you hold');
    }
    if (carried.length > 0) {
      const first = carried[0].statement.version;
      if (first !== own.version + 1) throw undecided('other-trust-root', 'the bundle carries versions of the trust root from ' + first + ' on, and you hold version ' + own.version);
      this.base = carried.at(-1);
      this.learned = carried;
    }
    this.validators = await trustedValidators(this.base.statement);
    return 'version ' + own.version + ' of ' + own.zone + ', ' + carried.length + ' newer ones carried';
  }

  // proof computes the root of the state in which the proof shows the records.
  async proof() {
    const b = this.bundle;
    if (b.kind === 5) return this.proofOfEntries();
    this.records = b.values.map(readRecord);
    const hashes = await Promise.all(b.values.map((v) => sha256(v)));
    if (b.kind === 2 || b.kind === 3) {
      const scope = new Scope('r' + b.code + '.', 'r' + b.code + '0', b.kind === 2);
      const { root, keys } = await rangeRoot(readRangeProof(this.step.proof), scope, hashes);
      keys.forEach((key, i) => demand(key === recordKey(this.records[i].code), 'record', 'the listing has a record of ' + this.records[i].code + ' at the place of another'));
      this.root = root;
    } else {
      const p = readProof(this.step.proof);
      if (hashes.length > 0) checkRevisions(b, this.records, hashes);
      this.root = await proofRoot(p, recordKey(b.code), hashes[0] || null);
    }
    return 'leads to the state ' + hex(this.root);
  }

  // proofOfEntries is proof for what stands at keys of the state.
  async proofOfEntries() {
    const b = this.bundle;
    const proofs = decode(list(BYTES), this.step.proof);
    need(proofs.length === b.keys.length, 'a state proof for each key');
    for (let i = 0; i < proofs.length; i++) {
      const value = b.values[i].length > 0 ? b.values[i] : null;
      const root = await entryRoot(b.names[i], b.values[i], proofs[i]);
      demand(i === 0 || same(root, this.root), TREE, 'the state proofs lead to different states');
      this.root = root;
      this.entries.push({ key: b.keys[i], value });
      if (!value || b.names[i][0] !== 'r') continue;
      const r = readRecord(value);
      demand(recordKey(r.code) === b.names[i], 'record', 'at the key of a record stands another one');
      this.records.push(r);
    }
    return 'leads to the state ' + hex(this.root);
  }

  // delegation decodes what a step says of the zone it leads to, and computes
  // the root of the state in which the proofs show it.
  async delegation() {
    const proofs = decode(list(BYTES), this.step.proof);
    need(proofs.length === 2, 'a state proof for the record of a zone\'s apex and one for the zone');
    const record = readRecord(this.step.values[0]);
    const known = readZone(this.step.values[1], record.code);
    checkKnown(known, record.code);
    this.root = await entryRoot(recordKey(record.code), this.step.values[0], proofs[0]);
    const root = await entryRoot(zoneKey(record.code), this.step.values[1], proofs[1]);
    demand(same(root, this.root), TREE, 'the state proofs of ' + record.code + ' and of its zone lead to different states');
    this.next = { record, known };
    return record.code + ' and its zone lead to the state ' + hex(root);
  }

  // authority checks that no zone below is the one to answer: it goes through the
  // codes that may have been delegated, and takes a proof about the zone of each
  // that the proofs so far do not exclude.
  async authority() {
    const left = [...this.step.authority || []];
    const codes = unauthorized(this.bundle);
    const have = [];
    for (const d of new Set(codes.flatMap((c) => delegators(this.from.apex, c)))) {
      const key = zoneKey(d);
      if (have.some((h) => excludes(h.proof, h.key, key))) continue;
      need(left.length > 0, 'authority with a proof about a zone of ' + d);
      const { proof, value } = left.shift();
      demand(same(await entryRoot(key, value, proof), this.root), TREE, 'the proof about a zone of ' + d + ' leads to another state than the answer\'s');
      if (value.length > 0) {
        const { places } = readZone(value, d);
        const code = codes.find((c) => inZone(d, places, c));
        if (code) throw undecided('outside-zone', d + ' has a zone of its own, and that is the one to ask about ' + code);
      }
      have.push({ key, proof: readProof(proof) });
    }
    need(left.length === 0, 'authority without superfluous proofs');
    return 'no zone below that of ' + this.from.apex + ' is the one to ask';
  }

  // tag checks that the step leads on from the version that decides.
  async tag() {
    const b = this.bundle;
    const s = this.base.statement;
    if (!this.validators) throw undecided('other-trust-root', 'the step leads on from a version of the trust root that is not connected to yours');
    if (await tagOf(await hashOfStatement(s), b) !== (b.trust || '0'.repeat(16))) {
      throw undecided('other-trust-root', 'the bundle was made for another trust root than version ' + s.version + ' of ' + s.zone + ': ask for one that leads on from yours');
    }
    return 'version ' + s.version + ' of ' + s.zone;
  }

  // headers decodes the answering header and head and fills in what they leave
  // out, but for the validators of head.
  async headers() {
    const { head, log } = this.step;
    const { chain } = this.from;
    this.head = readHeader(head.header, chain, false);
    this.header = this.head;
    if (log) await this.readLog(log);
    else this.head.appHash = this.root;
    this.zones[this.number].asOf = this.asOf = { chain, height: safe(this.header.height - 1n), time: stamp(this.header.time, true) };
    return 'height ' + this.header.height + (log ? ', which the block log at height ' + this.head.height + ' contains' : '');
  }

  // readLog decodes the answering header of a log link, and sets the app hash of
  // head to what follows from it.
  async readLog(l) {
    const h = readHeader(l.header, this.from.chain, false);
    demand(l.validators !== '', 'malformed', 'header has no validators hash');
    h.validators = unhex(l.validators);
    h.appHash = this.root;
    const proof = readProof(l.proof);
    const first = BigInt(l.first);
    const size = BigInt(l.size);
    const before = this.head.height - 1n;
    const hash = await hashHeader(h);
    demand(l.path.length <= 32 * LIMITS.log && l.path.length % 32 === 0, 'malformed', 'block log path: not a row of hashes');
    demand(first >= 1n && h.height >= first && before >= first && size <= before - first + 1n, TREE, 'a block log of ' + size + ' from height ' + first + ' can not contain height ' + h.height);
    const root = await inclusionRoot(h.height - first, size, await sha256([0], hash), l.path);
    const value = encode(BLOCK_LOG, { first, size, root: hex(root) });
    this.head.appHash = await proofRoot(proof, LOG_KEY, await sha256(value));
    demand(h.time < this.head.time, 'contradiction', 'header ' + h.height + ' is not earlier than header ' + this.head.height);
    this.named(h, hash);
    this.header = h;
    this.logRoot = hex(root);
  }

  // named checks that a header at the height of what the step leads on from is
  // the one that this names.
  named(h, hash) {
    demand(h.height !== this.from.height || hex(hash) === this.from.header, 'contradiction', 'header ' + h.height + ' is not the one that ' + this.from.name + ' names');
  }

  // signatures checks that head's validators signed it and that they are the
  // chain's, by what the step leads on from.
  async signatures() {
    const { step } = this;
    const { height, time, next, set, chain, name } = this.from;
    const t = { height, time: time - (height === 0n ? 1n : 0n), next, set };
    const transitions = step.transitions || [];
    if (this.head.height <= t.height) return this.signaturesBelow(step, transitions);
    if (step.validators) {
      t.set = await readValidators(step.validators);
      demand(same(t.set.hash, next), 'malformed', 'validators of the checkpoint: it names others');
    }
    let gap = null;
    let votes = 0;
    for (const block of [...transitions, step.head]) {
      const h = block === step.head ? this.head : readHeader(block.header, chain, true);
      demand(h.height > t.height, 'malformed', 'transitions: header ' + h.height + ' comes after header ' + t.height);
      const { set, commit } = await this.readSigned(h, block, t.set);
      votes = commit.votes.length;
      demand(!step.validators || t.height !== height || !same(h.validators, next), 'malformed', 'validators of the checkpoint: the first header is signed by these, and names them itself');
      try {
        await this.follows(t, h, set, commit);
      } catch (f) {
        // Beyond a gap nothing is connected, but it may still be wrong.
        if (f.verdict !== 'undecided') throw f;
        gap = gap || f;
      }
      if (block === step.head) break;
      demand(!t.set || !same(h.nextValidators, t.next), 'malformed', 'transition: header ' + h.height + ' names no other validators than the one before');
      Object.assign(t, { height: h.height, time: h.time, next: h.nextValidators, set: same(h.nextValidators, h.validators) ? set : null });
    }
    if (gap) throw gap;
    return votes + ' validators signed header ' + this.head.height + ', ' + transitions.length + ' transitions from ' + name;
  }

  // follows checks that a header follows from the one trusted last.
  async follows(t, h, set, commit) {
    const trusted = t.set || (same(set.hash, t.next) ? set : null);
    const connected = await verifyCommit(trusted, set, h, commit);
    demand(h.time > t.time, 'not-signed', 'header ' + h.height + ' is not later than header ' + t.height);
    const adjacent = h.height - 1n === t.height;
    demand(!adjacent || same(set.hash, t.next), 'not-signed', 'header ' + h.height + ' is signed by other validators than the header before it names');
    if (!trusted || !connected) throw undecided('not-connected', 'header ' + h.height + ' is not signed by enough of the validators trusted since height ' + t.height);
  }

  // signaturesBelow is signatures for a head at the height of what the step leads
  // on from, or below.
  async signaturesBelow(step, transitions) {
    const h = this.head;
    const { height, time, name, set: known, point } = this.from;
    demand(transitions.length === 0 && !step.validators, 'malformed', 'transitions lead nowhere: the head is not above ' + name);
    const { set, commit } = await this.readSigned(h, step.head, known);
    await verifyCommit(null, set, h, commit);
    if (h.height === height) {
      this.named(h, await hashHeader(h));
      return 'header ' + h.height + ' is the one that ' + name + ' names';
    }
    const gap = time - h.time;
    demand(gap > -SECOND, 'contradiction', 'header ' + h.height + ' is later than ' + name + ', of height ' + height);
    if (point) throw undecided('not-connected', 'header ' + h.height + ' is older than ' + name + ': ask again for an answer that leads on from it');
    if (!same(set.hash, known.hash) || gap > this.options.trustingPeriod) {
      throw undecided('not-connected', 'header ' + h.height + ' is older than the trust root and not signed by the validators it names, or too long before: ask for a bundle with a block log link');
    }
    return commit.votes.length + ' of the trust root\'s validators signed header ' + h.height + ', before it';
  }

  // descent checks that head goes on from the checkpoint: its block log holds the
  // checkpoint's header or, while no transaction followed that, is still the
  // checkpoint's own.
  async descent() {
    const { log, descent: d } = this.step;
    const { point, height } = this.from;
    const head = this.head.height;
    demand((head > height) === Boolean(d), 'malformed', 'descent: it is given exactly for a header above the checkpoint');
    if (!d) return 'not above the checkpoint';
    demand(!log || !d.first && !d.size && d.proof.length === 0, 'malformed', 'descent: the block log is given twice');
    demand(log || !d.first === !d.size, 'malformed', 'descent: a block log has a first height and a size, or neither');
    const [first, size] = [(log || d).first, (log || d).size].map((n) => BigInt(n || 0));
    demand(size === 0n || first >= 1n && head - 1n >= first && size <= head - first, TREE, 'descent: such a block log can not stand in the state before height ' + head);
    const root = await this.descendingRoot(d, first, size);
    if (log) {
      demand(root === this.logRoot, 'no-descent', 'the block log of header ' + head + ' does not hold the header of the checkpoint');
    } else {
      const state = await entryRoot(LOG_KEY, size === 0n ? [] : encode(BLOCK_LOG, { first, size, root }), d.proof);
      demand(same(state, this.head.appHash), 'no-descent', 'header ' + head + ' does not go on from the checkpoint at height ' + height);
    }
    return d.path || point.height === 0 ? 'the block log holds the checkpoint' : 'no transaction since the checkpoint';
  }

  // descendingRoot returns the root of a block log that goes on from the
  // checkpoint.
  async descendingRoot(d, first, size) {
    const { point, height } = this.from;
    if (size > 0n && height >= first && height - first < size) {
      const path = d.path || [];
      const root = await inclusionRoot(height - first, size, await sha256([0], unhex(point.header)), path);
      demand(!d.root, 'malformed', 'descent: the root of the block log follows from the path');
      return hex(root);
    }
    demand(!d.path, 'malformed', 'descent: the block log does not reach the height of the checkpoint');
    if (height === 0n && size > 0n) {
      demand(first === 1n && d.root, 'malformed', 'descent: from the genesis on, the root of the block log has to be given, and it begins with block 1');
      return d.root;
    }
    demand(!d.root, 'malformed', 'descent: the root of the block log follows from the checkpoint');
    demand(first === BigInt(point.log.first) && size === BigInt(point.log.size), 'no-descent', 'the block log does not reach the checkpoint\'s header, and is not its own');
    return point.log.root;
  }

  // readSigned decodes the validators and commit of a light block and sets the
  // header's validators hash. known stands for validators left out.
  async readSigned(h, block, known) {
    const set = block.validators ? await readValidators(block.validators) : known;
    const rightly = set && !(block.validators && known && same(set.hash, known.hash));
    demand(rightly, 'malformed', 'validators of header ' + h.height + ': they are given exactly if the header before does not give them');
    h.validators = set.hash;
    return { set, commit: readCommit(block.commit) };
  }

  async recordsOfChain() {
    const records = this.next ? [this.next.record] : this.records;
    for (const r of records) {
      const fits = r.changed.chain === this.header.chain && r.changed.height < this.header.height && nanosOf(r.changed.time) <= this.header.time;
      demand(fits, 'record', 'the record of ' + r.code + ' was made on another chain or later than the header');
    }
    if (this.next) return this.delegates();
    this.apex();
    return plural(records.length, 'record') + ' of this chain, none newer than the header';
  }

  // delegates checks what the answering header says of the zone that the step
  // leads to.
  delegates() {
    const { record: { code, delegation: d }, known } = this.next;
    const { checkpoint: { time, height }, fork } = known;
    demand(d, 'record', code + ' is not delegated: it has no zone of its own');
    demand(d.chain === known.chain && !d.places === !known.places, 'record', 'the record of ' + code + ' delegates to another chain than that of which something is known');
    demand(nanosOf(time) < this.header.time + CLOCK_TOLERANCE, 'record', 'the checkpoint of ' + code + ' is ahead of the header that commits to it');
    if (fork) throw undecided('frozen', 'the zone of ' + code + ' is frozen: its validators signed two headers at height ' + fork.height);
    return code + ' is delegated to the chain ' + known.chain + ', last seen at height ' + height;
  }

  // apex checks that the zone does not deny its apex, whose record the zone above
  // has shown.
  apex() {
    const { apex, point } = this.from;
    const { kind, code, names, values } = this.bundle;
    const denied = kind === 5 ? names.some((k, i) => k === recordKey(apex) && values[i].length === 0) : (kind === 1 || kind === 4) && code === apex && values.length === 0;
    demand(!point || !denied, 'record', 'the zone of ' + apex + ' says that ' + apex + ' is not allocated, and the zone above shows that it is');
  }

  async zone() {
    const { apex, places } = this.from;
    const { bundle: b, next } = this;
    for (const code of askedCodes(b)) {
      if (!inZone(apex, places, code)) throw undecided('outside-zone', code + ' is outside the zone of ' + apex + ', whose chain says nothing about it');
      if (next && !inZone(next.record.code, next.known.places, code)) throw undecided('outside-zone', code + ' is outside the zone of ' + next.record.code + ', to which the bundle leads');
    }
    const inner = next ? next.record.code : apex;
    demand(!next || inner !== apex && inZone(apex, places, inner), 'record', 'the zone of ' + inner + ' is not inside that of ' + apex);
    return b.code + ' belongs to the zone of ' + inner;
  }

  async clock() {
    const { now, at, clockDrift } = this.options;
    const limit = now + clockDrift;
    if (this.head.time >= limit) throw undecided('clock', 'header ' + this.head.height + ' is of ' + stamp(this.head.time) + ', ahead of the clock, which shows ' + stamp(now) + ': set the clock');
    if (this.from.time >= limit) throw undecided('clock', this.from.name + ' is ahead of the clock, which shows ' + stamp(now) + ': set the clock');
    if ((at ?? now) >= limit) throw undecided('clock', 'nobody can tell yet what holds at ' + stamp(at));
    return 'the clock shows ' + stamp(now);
  }

  async period() {
    const { now, at, trustingPeriod } = this.options;
    const end = this.from.time + trustingPeriod;
    const detail = this.from.name + ' suffices until ' + stamp(end);
    if ((at ?? now) >= end || this.head.time >= end) throw undecided('trust-expired', detail + ' only: a newer ' + this.from.what + ' is needed');
    return detail;
  }

  // freshness checks that the answer is known for the time wanted, and picks the
  // revision in force then.
  async freshness() {
    const { now, at, maxAge, maxAgeParents } = this.options;
    const { next } = this;
    const known = this.header.time;
    const kind = next ? 0 : this.bundle.kind;
    const records = next ? [next.record] : this.records;
    if ((kind === 1 || kind === 4) && this.records.length > 0) {
      this.allocated = true;
      this.record = this.records[0];
    }
    if (at === null || at >= known) {
      if ((at ?? now) - known > (next ? maxAgeParents : maxAge)) throw undecided('stale', 'the answer is as of ' + stamp(known) + ', too old for the time wanted');
      return 'as of ' + stamp(known);
    }
    if (next && nanosOf(next.known.anchored) > at) throw undecided('changed-since', 'the zone of ' + next.record.code + ' was anchored after the time wanted: ask for a bundle as of that time');
    const later = (r) => nanosOf(r.changed.time) > at;
    if (kind === 4) {
      this.record = this.records.find((r) => !later(r)) || null;
      this.allocated = this.record !== null;
      return this.record ? 'revision ' + this.record.revision + ' was in force at ' + stamp(at) : 'not allocated at ' + stamp(at);
    }
    if (kind === 5) throw undecided('changed-since', 'the entries may have changed since: ask for them as of that time');
    const changed = records.find(later);
    if (changed) throw undecided('changed-since', changed.code + ' was last changed at ' + changed.changed.time + ', after the time wanted: ask for its history, or for a bundle as of that time');
    return 'unchanged from ' + stamp(at) + ' until ' + stamp(known);
  }

  // says words a valid answer.
  says() {
    const { code, kind } = this.bundle;
    let asOf = ', as of ' + stamp(this.header.time) + ' (height ' + this.asOf.height + ' of ' + this.asOf.chain + ')';
    const { zone, chain, record } = this.zones.at(-1);
    if (record) {
      if (kind !== 6) asOf = ', by the zone of ' + zone + asOf;
      if (record.status !== 'active') asOf += '; the zone above says that ' + zone + ' is ' + record.status;
      if (kind === 6) return 'the zone of ' + zone + ' (chain ' + chain + ') answers for ' + code + asOf;
    }
    if (kind === 2 || kind === 3) return code + ' has ' + plural(this.records.length, 'code') + (kind === 2 ? ' directly' : '') + ' below it' + asOf;
    if (kind === 5) return 'there are entries at ' + this.entries.filter((e) => e.value).length + ' of ' + plural(this.entries.length, 'key') + asOf;
    if (!this.allocated) return code + ' is not allocated' + asOf;
    if (kind === 4) return code + ' has ' + plural(this.records.length, 'revision') + ', of which ' + this.record.revision + ' is the one in force' + asOf;
    return code + ' is ' + this.record.status + ' at revision ' + this.record.revision + asOf;
  }

  async result() {
    const b = this.bundle;
    const verdict = this.finding ? this.finding.verdict : 'valid';
    const s = this.base.statement;
    const out = {
      verdict, reason: this.finding ? this.finding.reason : '', message: this.finding ? this.finding.message : this.says(),
      code: b ? b.code : '', kind: b ? ANSWERS[b.kind] : '', allocated: false, absent: false, record: null, records: [], entries: [], zones: [], asOf: null,
      trust: { zone: s.zone, chain: s.chain, version: s.version, hash: await hashOfStatement(s) },
      learned: this.learned || [], checks: this.checks,
    };
    if (verdict === 'invalid') return out;
    return Object.assign(out, {
      allocated: this.allocated, record: this.record, records: b && b.kind !== 1 ? this.records : [], entries: this.entries, zones: this.zones, asOf: this.asOf || null,
      absent: verdict === 'valid' && (b.kind === 1 || b.kind === 4) && !this.allocated,
    });
  }
}

// safe turns a BigInt into a number where that is exact.
const safe = (n) => n <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(n) : n;

// checkBundle judges a bundle. trust is a trust file, as octets, as text or as
// parseTrust returns it, or one version of the trust root in JSON. Options:
//
//   now             the time of the verifier's clock; if not given, the machine's
//   at              the time for which the answer is wanted; if not given, now
//   code, kind      the question; without them look at those of the result
//   keys            of entries, a list of octets in order; without it, any
//   maxAge          how old the last zone's header may be, in seconds; 3600
//   maxAgeParents   how old the headers of the zones above may be; a day
//   clockDrift      how far ahead of now a header may be, in seconds; 20
//   trustingPeriod  how long a version of the trust root suffices, in seconds; 14 days
//
// Times are a Date, milliseconds since 1970 or RFC 3339 text. The result has
//
//   verdict    'valid', 'invalid' or 'undecided'
//   reason     why it is not valid, one of those listed in docs/formats.md
//   message    the verdict in an English sentence
//   code, kind, allocated, absent, record, records, entries, asOf: the answer;
//              nothing supports it unless the verdict is 'valid'. Entries are
//              {key, value} as octets; the value is null where nothing stands
//   zones      those the way leads through: zone (its apex), chain, asOf, and what
//              the zone above says: record (of the apex) and known (checkpoint,
//              anchored, anchors, fork); of a referral, the last is the one to ask
//   trust      zone, chain, version and hash of the version that decided
//   learned    later versions of the trust root that the bundle proved, in JSON
//   checks     what was checked, in order: zone ('' if there is but one), name, outcome ('ok', 'failed' or
//              'undecided') and detail
//
// It throws only if the trust root or an option is unusable, whatever the bundle.
export async function checkBundle(trust, bundle, options = {}) {
  const duration = (seconds, otherwise) => BigInt(Math.round((seconds || otherwise) * 1000)) * 1000000n;
  const { now, at, code = '', kind = '', keys, maxAge, maxAgeParents, clockDrift, trustingPeriod } = options;
  const c = new Checker({
    now: nanoseconds(now ?? Date.now()), at: at === undefined || at === null ? null : nanoseconds(at), code, kind, keys,
    maxAge: duration(maxAge, 3600), maxAgeParents: duration(maxAgeParents, 86400), clockDrift: duration(clockDrift, 20), trustingPeriod: duration(trustingPeriod, 1209600),
  });
  await c.run(await versionsOf(trust), new Uint8Array(bundle));
  return c.result();
}

// archive returns the bundle that gives the answer of one bundle, connected by a
// link. It throws if the two do not belong together; whether the link holds, only
// checkBundle can tell of the result, with the header's time as "at".
export async function archive(bundle, link) {
  const b = readBundle(new Uint8Array(bundle));
  const bytes = new Uint8Array(link);
  need(bytes.length <= LIMITS.link, 'a link of at most 4 MiB');
  if (laterVersion(bytes)) throw undecided('unsupported', 'the link is of a later version of the format');
  const l = decode(LINK, bytes);
  if (l.version > 1) throw undecided('unsupported', 'the link is of a later version of the format');
  need(l.version === 1 && l.trust && l.state && (l.transitions || []).length <= LIMITS.transitions, 'a link with version, trust root and state');
  checkCarried(l.versions);
  need(!l.versions || await hashOfStatement(l.versions.at(-1).statement) === l.trust, 'a link that leads on from the last version it carries');
  const step = b.steps[0];
  const own = step.log ? step.log.header : step.head.header;
  readHeader(own, '', false);
  const c = new Checker({});
  c.bundle = b;
  c.step = step;
  await (leads(b, 0) ? c.delegation() : c.proof());
  const given = step.log ? step.log.validators : step.head.validators ? hex((await readValidators(step.head.validators)).hash) : '';
  const belongs = same(own, l.log.header) && hex(c.root) === l.state && (!given || given === l.log.validators);
  demand(belongs, 'malformed', 'the link is for another header than the bundle\'s');
  return encode(BUNDLE, {
    version: 1, kind: b.kind, code: b.code, trust: await tagOf(l.trust, b), versions: l.versions,
    steps: [{ ...step, transitions: l.transitions, head: l.head, log: l.log }, ...b.steps.slice(1)], values: b.values, keys: b.keys,
  });
}

// ---------------------------------------------------------------- labels

const RESERVED = ['V1', 'X', 'ZH', 'EN', 'API', '1.0', 'STATIC'];
const DAY_ZERO = 1577836800;
const dayStart = (day) => DAY_ZERO + 86400 * day;
const dateOf = (day) => stamp(BigInt(dayStart(day)) * SECOND).slice(0, 10);

function refuse(condition, message) {
  if (condition) throw new Error(message);
}

// checkHost refuses what can not stand on a label: what is no host name, and
// what names only the machine or the cable it is on.
function checkHost(host) {
  const labels = host.split('.');
  refuse(host.length > 253 || !labels.every((l) => /^[A-Z0-9]([A-Z0-9-]{0,61}[A-Z0-9])?$/.test(l)), 'not a host name');
  const last = labels.at(-1);
  refuse(['LOCALHOST', 'LOCAL', 'LOCALDOMAIN', 'IP6-LOCALHOST', 'IP6-LOOPBACK', 'INVALID'].includes(last), 'the host names only this machine');
  if (!/^[0-9]+$/.test(last) && !last.startsWith('0X')) return;
  refuse(labels.length !== 4 || !labels.every((l) => /^(0|[1-9][0-9]{0,2})$/.test(l) && l < 256), 'neither a host name nor an IPv4 address');
  const [a, b] = labels.map(Number);
  refuse(a === 0 || a === 127 || a === 169 && b === 254 || a >= 224, 'the address is loopback, link-local, multicast or reserved');
}

const isPrefix = (part) => /^[A-Z0-9]+$/.test(part) && !RESERVED.includes(part);

// publicURL joins the parts of the address before a code.
function publicURL(scheme, authority, prefix) {
  const colon = authority.indexOf(':');
  const host = colon < 0 ? authority : authority.slice(0, colon);
  checkHost(host);
  let text = scheme + '://' + host;
  if (colon >= 0) {
    const port = authority.slice(colon + 1);
    refuse(!/^[1-9][0-9]{0,4}$/.test(port) || port > 65535, 'not a port');
    if (port !== (scheme === 'HTTP' ? '80' : '443')) text += ':' + port;
  }
  refuse(!prefix.every(isPrefix), 'the path is reserved or has other characters than letters and digits');
  text = [text, ...prefix].join('/');
  refuse(text.length > 60, 'the address is longer than 60 characters');
  return { public: text, host: text.split('/')[2].toLowerCase() };
}

function labelledCode(parts) {
  const text = parts.join('/');
  refuse(!isCode(text) || RESERVED.includes(parts[0]), 'not a label: no code in the address, or a reserved one');
  return text;
}

// parseEnvelope reads the digits of a certificate.
function parseEnvelope(code, digits) {
  refuse(!/^[0-9]{174}$/.test(digits) || BigInt(digits) >> 576n > 0n, 'the certificate was cut or altered');
  const bytes = uint(BigInt(digits), 72);
  const [issued, expires] = [4, 6].map((i) => bytes[i] << 8 | bytes[i + 1]);
  refuse(expires < issued, 'the certificate expires before it is issued');
  return { code, keyID: hex(bytes.subarray(0, 4)), issued, expires, issuedDate: dateOf(issued), expiresDate: dateOf(expires), envelope: bytes };
}

const MARK = struct({ version: U8, code: CODE_TEXT, 'digest?': DIGEST, time: TIME, nonce: fixed(16), keyID: fixed(4), 'expires?': TIME });

// parseMark reads the digits of a source mark.
function parseMark(digits) {
  refuse(!/^[1-9][0-9]{0,647}$/.test(digits), 'the source mark was cut or altered');
  const text = BigInt(digits).toString(16);
  const bytes = unhex(text.length % 2 ? '0' + text : text);
  const statement = bytes.subarray(0, -64);
  refuse(statement.length < 3 || statement.length > 205 || statement[0] >> 5 !== 5 || statement[1] !== 1, 'the source mark was cut or altered');
  refuse(statement[2] !== 1, 'the source mark is of a later version');
  const { version, ...m } = decode(MARK, statement);
  refuse(!m.code || RESERVED.includes(m.code.split('/')[0]), 'a source mark without a code, or with a reserved one');
  refuse(!m.time || !isTime(m.time) || !isTime(m.expires ?? ''), 'a source mark with a time outside the years 1970 to 9999');
  refuse(!m.nonce, 'a source mark with a nonce of zeros');
  refuse(m.expires && timeOf(m.expires) <= timeOf(m.time), 'the source mark expires before it is signed');
  return { digest: '', expires: '', ...m, keyID: m.keyID || '00000000', version, statement, signature: bytes.subarray(-64) };
}

// parsePayload reads the text of a symbol, or what somebody typed, and throws an
// Error if it is neither a label nor a code. Nothing in the result is verified:
//
//   kind         'field', 'certificate', 'source' or 'code'
//   code         in canonical form; display: with its check characters
//   public, host where a label points, '' for a bare code
//   certificate  of a certificate: keyID, issued and expires in days since
//                2020-01-01, issuedDate and expiresDate as year-month-day
//   source       of a source mark: digest in hexadecimal ('' on a plate), time,
//                nonce, keyID and expires ('' for never)
export function parsePayload(text) {
  refuse(utf8(text).length > 711, 'longer than any label');
  const result = (kind, code, url, certificate = null, source = null) => ({ kind, code, display: code + '*' + checkCharacters(code), ...url, certificate, source });
  const at = text.indexOf('://');
  if (at < 0) return result('code', parseCode(text), { public: '', host: '' });
  refuse(/[^!-~]|[?#@[\]%\\]/.test(text), 'not a label: unexpected characters');
  const scheme = text.slice(0, at).toUpperCase();
  refuse(scheme !== 'HTTP' && scheme !== 'HTTPS', 'not a label: must begin with http:// or https://');
  const [authority, ...parts] = text.slice(at + 3).replace(/\/$/, '').toUpperCase().split('/');
  let k = 0;
  while (k < parts.length && isPrefix(parts[k])) k++;
  if (parts[k] === 'X') {
    const rest = parts.slice(k + 1);
    if (rest.length === 1 && /^[0-9]*$/.test(rest[0])) {
      const source = parseMark(rest[0]);
      return result('source', source.code, publicURL(scheme, authority, parts.slice(0, k)), null, source);
    }
    refuse(rest.length < 2, 'certificate: want a code and a signature after /X/');
    const code = labelledCode(rest.slice(0, -1));
    const certificate = parseEnvelope(code, rest.at(-1));
    return result('certificate', code, publicURL(scheme, authority, parts.slice(0, k)), certificate);
  }
  // The code begins at the first part from which the rest is one.
  for (let i = 0; i <= k && i < parts.length; i++) {
    if (isCode(parts.slice(i).join('/'))) return result('field', labelledCode(parts.slice(i)), publicURL(scheme, authority, parts.slice(0, i)));
  }
  throw new Error('not a label: the address has no code after the host');
}

// candidatesOf lists the keys of a proven record that may have signed a
// certificate. It takes a result of checkBundle, and refuses one that is not
// valid, or another answer than that for the latest record.
export function candidatesOf(result) {
  refuse(result.verdict !== 'valid' || result.kind !== 'record', 'keys are taken from valid bundles of records alone: ' + result.message);
  const r = result.record;
  if (!r || !r.policy || r.status === 'retired') return [];
  return r.policy.members.flatMap((m) => m.keys || [])
    .filter((k) => k.roles.split(',').includes('assert') && algorithmOf(k.public) === 'ed25519')
    .map((k) => ({ holder: r.code, key: k.public, notBefore: k.from, notAfter: k.until, compromisedSince: k.compromised }));
}

const FINDINGS = ['no-key', 'bad-signature', 'key-not-in-force', 'valid', 'expired', 'not-yet-valid', 'bytes-wanted', 'compromised'];
const WEIGHTS = [0, 1, 2, 3, 3, 3, 3, 4];

// judgeKeys tries the candidates of a code's own line, and has judge look at the
// times of those that did sign. Of several findings the heaviest counts.
async function judgeKeys(code, keyID, message, signature, candidates, judge) {
  let found = { verdict: 'no-key', holder: '', key: '' };
  for (const k of candidates) {
    if (algorithmOf(k.key) !== 'ed25519' || k.holder !== code && !covers(k.holder, code)) continue;
    const key = keyOctets(k.key);
    if (hex((await sha256(utf8('cityid/label/key/1'), key)).subarray(0, 4)) !== keyID) continue;
    let f = { verdict: 'bad-signature', holder: '', key: '' };
    if (await verifySignature(key, message, signature)) f = { verdict: judge(k), holder: k.holder, key: k.key };
    if (WEIGHTS[FINDINGS.indexOf(f.verdict)] > WEIGHTS[FINDINGS.indexOf(found.verdict)]) found = f;
  }
  return found;
}

// checkCertificate judges a certificate, given as text, by keys of its own line:
// evidence is a list of results of checkBundle about the code and its ancestors,
// or of candidates: holder, key, notBefore, notAfter, compromisedSince, the times
// as RFC 3339 in whole seconds, '' for none. now is as for checkBundle.
//
// The verdict is 'valid', 'expired', 'not-yet-valid', 'bad-signature',
// 'key-not-in-force', 'compromised' or 'no-key'; undecided says that it is one of
// the last two, which tell nothing. holder and key are those it rests on. It
// throws an Error if the text is no certificate.
export async function checkCertificate(text, evidence, now) {
  const payload = parsePayload(text);
  const c = payload.certificate;
  refuse(!c, 'not a certificate');
  const seconds = Number(secondsOf(nanoseconds(now ?? Date.now())));
  const candidates = evidence.flatMap((e) => 'verdict' in e ? candidatesOf(e) : [e]);
  const found = await judgeKeys(c.code, c.keyID, await certificateMessage(c), c.envelope.subarray(8), candidates, (k) => judgeDates(c, k, seconds));
  const { code, host, public: address } = payload;
  return { ...found, undecided: found.verdict === 'compromised' || found.verdict === 'no-key', code, host, public: address, issued: c.issuedDate, expires: c.expiresDate };
}

// certificateMessage returns the octets that a certificate's signer signs.
const certificateMessage = (c) => sha256(utf8('cityid/label/1'), [c.code.length], utf8(c.code), c.envelope.subarray(0, 8));

// judgeDates looks at the dates of a certificate that a key did sign.
function judgeDates(c, k, now) {
  const start = dayStart(c.issued);
  const until = timeOf(k.notAfter);
  if (k.compromisedSince) return 'compromised';
  if (timeOf(k.notBefore) >= start + 86400 || until !== 0 && until <= start) return 'key-not-in-force';
  if (now < start) return 'not-yet-valid';
  return now >= dayStart(c.expires + 1) ? 'expired' : 'valid';
}

// sourceKeys returns the keys that may sign source marks for a code: those of the
// policy that governs it, its own or that of the nearest above it that has one.
function sourceKeys(code, results) {
  for (let n = 0; n < 32; n++) {
    const r = results.find((x) => x.code === code);
    if (!r) return [];
    const keys = candidatesOf(r);
    if (!r.record || r.record.policy || !r.record.parent) return keys;
    code = r.record.parent;
  }
  return [];
}

// checkSource judges a source mark, given as text, by the keys of the policy that
// governs the source: evidence is a list of results of checkBundle about the code
// and those above it, up to the first that has a policy, or of candidates as for
// checkCertificate. digest is the SHA-256 of the bytes it is to be about, in
// hexadecimal, or '' if they are not at hand. now is as for checkBundle.
//
// The verdicts are those of checkCertificate; 'wrong-bytes', when the mark is
// about other bytes or, as a plate, about none; and 'bytes-wanted', undecided,
// when it is well signed but the bytes are not at hand. time is the signer's word.
// It throws an Error if the text is no source mark.
export async function checkSource(text, evidence, digest, now) {
  const payload = parsePayload(text);
  const m = payload.source;
  refuse(!m, 'not a source mark');
  const seconds = Number(secondsOf(nanoseconds(now ?? Date.now())));
  const candidates = evidence.length && 'verdict' in evidence[0] ? sourceKeys(m.code, evidence) : evidence;
  const judge = (k) => {
    const time = timeOf(m.time);
    const until = timeOf(k.notAfter);
    if (k.compromisedSince) return 'compromised';
    if (timeOf(k.notBefore) > time || until !== 0 && until <= time) return 'key-not-in-force';
    if (seconds + 300 < time) return 'not-yet-valid';
    if (m.expires && seconds >= timeOf(m.expires)) return 'expired';
    return (digest || '') === m.digest ? 'valid' : 'bytes-wanted';
  };
  let found = { verdict: 'wrong-bytes', holder: '', key: '' };
  if (!digest || digest === m.digest) found = await judgeKeys(m.code, m.keyID, await markMessage(m), m.signature, candidates, judge);
  const { code, host, public: address } = payload;
  const undecided = ['compromised', 'no-key', 'bytes-wanted'].includes(found.verdict);
  return { ...found, undecided, code, host, public: address, digest: m.digest, time: m.time, expires: m.expires };
}

// markMessage returns the octets that a source mark's signer signs.
const markMessage = (m) => sha256(utf8('cityid/source/1'), m.statement);

// internals are for this module's own tests against the vectors of its parts.
export const internals = {
  verifySignature, readProof, proofRoot, excludes, readRangeProof, rangeRoot, Scope,
  readValidators, readCommit, readHeader, hashHeader, signBytes, quorumMet, readRecord, certificateMessage, markMessage, octets, string, hex, unhex,
};
