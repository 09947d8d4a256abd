// Before packing: the package carries its own copy of the project's protos, which are read when the client starts.
import { cpSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const target = fileURLToPath(new URL('../protos/', import.meta.url));
rmSync(target, { recursive: true, force: true });
for (const folder of ['ilre', 'google']) {
  cpSync(fileURLToPath(new URL(`../../../protos/${folder}/`, import.meta.url)), `${target}${folder}`, { recursive: true });
}
