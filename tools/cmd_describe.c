/* bailiwick describe: what a region is and can do, and who it takes the caller for. */
#include "bailiwick/v1/region.pb-c.h"
#include "cmd_common.h"

const struct bw_option bw_cmd_describe_options[] = { { 0 } };

bw_result bw_cmd_describe(struct bw_cli *cli)
{
    Bailiwick__V1__DescribeRequest request = BAILIWICK__V1__DESCRIBE_REQUEST__INIT;

    return bw_cmd_call_and_show(cli, BW_METHOD_NR(Describe), &request.base);
}
