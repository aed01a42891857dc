"""Results put into words, pictures and files: for a page, for a file that opens offline, for a spreadsheet.

figures    each figure with its unit and what it means
sheet      a tear sheet as pictures and tables
offline    the same in one file, without a single request
export     trades and curves as CSV and Parquet
compare    several results side by side
holdings   concentration and correlation of what a portfolio holds
studies    sweeps, walk-forwards and the rest on their pages
"""
