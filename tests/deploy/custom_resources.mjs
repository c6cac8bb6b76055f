// Validates the custom resources of YAML files by the schemas of Prometheus' operator, and prints the kind of each. It is
// run in the folder where package.json is installed.

import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';

const require = createRequire(`${process.cwd()}/`);
const {parseAllDocuments} = require('yaml');
const v1 = require('@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1');

for (const file of process.argv.slice(2)) {
  for (const document of parseAllDocuments(readFileSync(file, 'utf8'))) {
    const resource = document.toJS();
    if (resource?.apiVersion.startsWith('monitoring.coreos.com/')) {
      new v1[resource.kind](resource).validate();
      console.log(resource.kind);
    }
  }
}
