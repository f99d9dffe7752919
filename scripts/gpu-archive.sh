#!/usr/bin/env bash
# Writes the archive with all that checks a machine with a GPU: gpu-check, two programs, the demo's data set, imported, and PyTorch's side of comparisons.
#
#   gpu-archive.sh RINGLEADER FOLDER ARCHIVE     RINGLEADER imports; ringleader and conformance, built for CUDA, are in FOLDER
set -euo pipefail
importer=$(realpath "$1") folder=$(realpath "$2") archive=$(realpath -m "$3")
cd "$(dirname "$0")/.."
limit=64 # MiB: what is carried to a machine at once

# As `ringleader demo` imports it; anew when the log or the importer is.
source=examples/data/complete-journey
if [ ! -e "$folder/data/dataset.json" ] || [ -n "$(find $source dataset -newer "$folder/data/dataset.json" -type f)" ]; then
  rm -rf "$folder/data"
  "$importer" data import $source/purchases.parquet --out "$folder/data" --name complete-journey --user household_id --time unix_s --item product_id --action kind \
    --duration quantity --positive 'full price,discounted' --items $source/products.parquet --item-id product_id \
    --item-text department,product_category,product_type,product_type,brand --interest product_category --cut 2017-11-15 --eval-days 14 --holdout 0.25
fi
rm -rf "$folder/peers"
mkdir "$folder/peers"
cp scripts/peers/*.py "$folder/peers"
cp scripts/gpu-check "$folder/gpu-check"
cp examples/retail.yaml "$folder/job.yaml"

mkdir -p "$(dirname "$archive")"
tar -C "$folder" --transform 's,^,gpu-check/,' --owner=0 --group=0 -czf "$archive.part" gpu-check ringleader conformance data job.yaml peers
size=$(stat -c %s "$archive.part")
if [ "$size" -gt $((limit << 20)) ]; then
  rm "$archive.part"
  echo "gpu-archive.sh: the archive has $((size >> 20)) MiB: want at most $limit" >&2
  exit 1
fi
mv "$archive.part" "$archive"
echo "$archive: $((size >> 20)) MiB"
