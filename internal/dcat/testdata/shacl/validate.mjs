// SPDX-License-Identifier: Apache-2.0

// Validates JSON-LD documents against SHACL shapes.
//
//	node validate.mjs FOLDER < job.json
//
// FOLDER holds node_modules with jsonld, n3 and rdf-validate-shacl. The job is
// {"constraints": [...], "files": [...], "documents": [...]}: the constraints are
// made into shapes, the files are shapes in Turtle. The answer is
// {"documents": [{"error", "quads", "own": [violation], "official": [violation]}], "constraints": [...]},
// where the constraints are those that the files hold. Nothing is fetched: a
// document that refers to a context elsewhere is an error.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const require = createRequire(path.resolve(process.argv[2], 'package.json'))
const jsonld = require('jsonld')
const { DataFactory, Parser, Store } = require('n3')
const { default: Validator } = await import(pathToFileURL(require.resolve('rdf-validate-shacl')).href)

const { blankNode, literal, namedNode, quad } = DataFactory
const SH = 'http://www.w3.org/ns/shacl#'
const XSD = 'http://www.w3.org/2001/XMLSchema#'
const TYPE = 'http://www.w3.org/1999/02/22-rdf-syntax-ns#type'
const sh = (name) => namedNode(SH + name)

// shapesOf makes one node shape for each class, with one property shape for each
// constraint.
function shapesOf (constraints) {
  const store = new Store()
  for (const c of constraints) {
    const shape = namedNode('urn:shape:' + c.class)
    const property = blankNode()
    store.addQuad(quad(shape, namedNode(TYPE), sh('NodeShape')))
    store.addQuad(quad(shape, sh('targetClass'), namedNode(c.class)))
    store.addQuad(quad(shape, sh('property'), property))
    store.addQuad(quad(property, sh('path'), namedNode(c.property)))
    store.addQuad(quad(property, sh('nodeKind'), sh(c.kind === 'literal' ? 'Literal' : 'BlankNodeOrIRI')))
    if (c.min > 0) store.addQuad(quad(property, sh('minCount'), literal(String(c.min), namedNode(XSD + 'integer'))))
    if (c.max >= 0) store.addQuad(quad(property, sh('maxCount'), literal(String(c.max), namedNode(XSD + 'integer'))))
    if (c.range) store.addQuad(quad(property, sh(c.kind === 'literal' ? 'datatype' : 'class'), namedNode(c.range)))
  }
  return store
}

// constraintsOf reads constraints out of the official shapes: a property shape
// says one thing each, and those of one property belong together.
function constraintsOf (stores) {
  const found = new Map()
  for (const store of stores) {
    for (const target of store.getQuads(null, sh('targetClass'), null, null)) {
      for (const link of store.getQuads(target.subject, sh('property'), null, null)) {
        const path = store.getObjects(link.object, sh('path'), null)[0]
        if (!path) continue
        const key = target.object.value + ' ' + path.value
        const c = found.get(key) ?? { class: target.object.value, property: path.value, min: 0, max: -1, kind: '', range: '' }
        found.set(key, c)
        for (const q of store.getQuads(link.object, null, null, null)) {
          switch (q.predicate.value) {
            case SH + 'minCount': c.min = Number(q.object.value); break
            case SH + 'maxCount': c.max = Number(q.object.value); break
            case SH + 'nodeKind': c.kind = q.object.value === SH + 'Literal' ? 'literal' : 'node'; break
            case SH + 'class': case SH + 'datatype': c.range = q.object.value; break
            case SH + 'path': case SH + 'name': case SH + 'description': break
            default: if (q.predicate.value.startsWith(SH)) throw new Error('unknown constraint ' + q.predicate.value)
          }
        }
      }
    }
  }
  return [...found.values()]
}

async function violations (shapes, data) {
  const report = await new Validator(shapes).validate(data)
  const out = report.results.map((r) => `${r.focusNode?.value} ${r.path?.value} ${r.sourceConstraintComponent?.value.replace(SH, '')}`)
  if (report.conforms !== (out.length === 0)) throw new Error('the engine contradicts itself')
  return out
}

const refuse = async (url) => { throw new Error('nothing is fetched: ' + url) }

const job = JSON.parse(readFileSync(0, 'utf8'))
const own = shapesOf(job.constraints)
const official = job.files.map((name) => new Store(new Parser().parse(readFileSync(name, 'utf8'))))
const answer = { documents: [], constraints: constraintsOf(official) }
for (const document of job.documents) {
  try {
    const options = { algorithm: 'RDFC-1.0', format: 'application/n-quads', documentLoader: refuse, safe: true }
    const quads = await jsonld.canonize(document, options)
    const data = new Store(new Parser({ format: 'N-Quads' }).parse(quads))
    const found = []
    for (const shapes of official) found.push(...await violations(shapes, data))
    answer.documents.push({ quads, own: await violations(own, data), official: found })
  } catch (err) {
    answer.documents.push({ error: String(err?.message) + ' ' + JSON.stringify(err?.details ?? '') })
  }
}
process.stdout.write(JSON.stringify(answer))
