// Runs jobs for the tests of this folder: node driver.mjs MODULE < jobs > results.
// A job is one line of JSON with the name of a function below as "op"; a result
// is one line, {"result": ...} or {"error": "..."}, in the same order.
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const m = await import(pathToFileURL(process.argv[2]));
const u = m.internals;
const octets = (text) => new Uint8Array(Buffer.from(text, 'base64url'));
const base64 = (bytes) => Buffer.from(bytes).toString('base64url');

const files = new Map(); // text of a trust file -> what parseTrust makes of it
const judge = async (trust, bundle, options) => {
  if (typeof trust === 'string') {
    if (!files.has(trust)) files.set(trust, await m.parseTrust(trust));
    trust = files.get(trust);
  }
  const r = await m.checkBundle(trust, bundle, options);
  const last = r.checks.at(-1);
  if (r.verdict === 'valid' && (r.reason || r.checks.some((c) => c.outcome !== 'ok'))) throw new Error('valid, in spite of a check');
  if (r.verdict === 'invalid' && (r.record || r.records.length || r.entries.length || r.allocated || r.asOf || r.zones.length || last.outcome !== 'failed')) throw new Error('invalid, with an answer');
  return {
    verdict: r.verdict, reason: r.reason, message: r.message, height: r.asOf ? String(r.asOf.height) : '', time: r.asOf ? r.asOf.time : '',
    trust: r.trust.version, trustHash: r.trust.hash, allocated: r.allocated, absent: r.absent, record: r.record, records: r.records,
    entries: r.entries.map((e) => ({ key: base64(e.key), value: e.value ? base64(e.value) : undefined })), learned: r.learned,
    zones: r.zones.map((z) => ({ zone: z.zone, chain: z.chain, height: z.asOf ? String(z.asOf.height) : '', time: z.asOf ? z.asOf.time : '', record: z.record, known: z.known })),
    checks: r.checks.map((c) => (c.zone + ' ' + c.name + ' ' + c.outcome).trim()),
  };
};

const ops = {
  bundle: (j) => judge(j.trust, octets(j.bundle), { now: j.now, at: j.at, code: j.code, kind: j.kind, keys: j.keys && j.keys.map(octets) }),
  archive: async (j) => {
    try {
      return { archived: base64(await m.archive(octets(j.bundle), octets(j.link))) };
    } catch (f) {
      return { refused: f.verdict ?? String(f.stack) };
    }
  },
  object: async (j) => judge(JSON.parse(j.file), octets(j.bundle), { now: j.now }),
  trust: async (j) => {
    const t = await m.parseTrust(j.file);
    return { zone: t.zone, chain: t.chain, version: t.version, hash: t.hash, pinned: t.pinned };
  },
  payload: (j) => m.parsePayload(j.text),
  code: (j) => m.parseCode(j.text),
  message: async (j) => {
    const { certificate, source } = m.parsePayload(j.text);
    return certificate ? u.hex(await u.certificateMessage(certificate)) : source && u.hex(await u.markMessage(source));
  },
  certificate: (j) => m.checkCertificate(j.text, j.candidates, j.now),
  mark: (j) => m.checkSource(j.text, j.candidates, j.digest, j.now),
  sourceEvidence: async (j) => m.checkSource(j.text, await Promise.all(j.bundles.map((b) => m.checkBundle(j.trust, octets(b), { now: j.now }))), j.digest, j.now),
  evidence: async (j) => m.checkCertificate(j.text, [await m.checkBundle(j.trust, octets(j.bundle), { now: j.now })], j.now),
  signature: (j) => u.verifySignature(u.unhex(j.key), u.unhex(j.message), u.unhex(j.signature)),
  quorum: (j) => Boolean(u.quorumMet(j.quorum, new Set(j.keys))),
  proof: async (j) => u.hex(await u.proofRoot(u.readProof(u.unhex(j.proof)), u.string(u.unhex(j.key)), j.value === undefined ? null : u.unhex(j.value))),
  excludes: (j) => u.excludes(u.readProof(u.unhex(j.proof)), u.string(u.unhex(j.key)), u.string(u.unhex(j.other))),
  range: async (j) => {
    const scope = new u.Scope(u.string(u.unhex(j.lo)), j.hi === null ? null : u.string(u.unhex(j.hi)), j.shallow);
    const { root, keys } = await u.rangeRoot(u.readRangeProof(u.unhex(j.proof)), scope, j.values.map(u.unhex));
    return { root: u.hex(root), keys: keys.map((k) => u.hex(u.octets(k))) };
  },
  header: async (j) => {
    const h = u.readHeader(u.unhex(j.stripped), j.chain, j.withAppHash);
    h.validators = u.unhex(j.validators);
    if (!j.withAppHash) h.appHash = u.unhex(j.appHash);
    return u.hex(await u.hashHeader(h));
  },
  validators: async (j) => u.hex((await u.readValidators(u.unhex(j.encoded))).hash),
  votes: async (j) => {
    const c = u.readCommit(u.unhex(j.encoded));
    return c.votes.map((v) => ({ index: v.index, message: u.hex(u.signBytes(j.chain, BigInt(j.height), c, u.unhex(j.block), v.time)) }));
  },
  record: (j) => {
    const record = u.readRecord(octets(j.encoded));
    return { record, candidates: m.candidatesOf({ verdict: 'valid', kind: 'record', record }) };
  },
  timing: async (j) => {
    const bundle = octets(j.bundle);
    for (let i = 0; i < 20; i++) await m.checkBundle(j.trust, bundle, { now: j.now });
    const start = process.cpuUsage();
    for (let i = 0; i < j.rounds; i++) await m.checkBundle(j.trust, bundle, { now: j.now });
    const { user, system } = process.cpuUsage(start);
    return (user + system) / 1000 / j.rounds;
  },
};

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const job = JSON.parse(line);
  let out;
  try {
    out = { result: await ops[job.op](job) };
  } catch (e) {
    out = { error: e.message, bug: e instanceof TypeError || e instanceof RangeError || e instanceof ReferenceError ? e.stack : undefined };
  }
  process.stdout.write(JSON.stringify(out, (_, v) => typeof v === 'bigint' ? String(v) : v) + '\n');
}
